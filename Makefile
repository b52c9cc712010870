# `make demo` and `make test` are all a newcomer needs; `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCK := requirements$(if $(GPU),-gpu).lock
STAMP := $(VENV)/installed$(if $(GPU),-gpu)
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"
PORT ?= 8000
METRICS_PORT ?= 8080
DOCS_PORT ?= 8100
# mkdocs-material would print that its own successor has another name.
export NO_MKDOCS_2_WARNING := 1
# The user's own images and network; the synthetic sample and the basic CNN by default.
DATA ?=
BACKBONE ?= basic_cnn
ARGS ?=

# For bench: a bundle after `pintag optimize`, and a folder of photographs.
BUNDLE ?= demo/bundle
IMAGES ?= demo/data/test

.PHONY: help setup demo test test-all test-cluster bench k8s check docs format lock sbom clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## create .venv and install from the lock file (GPU=1: with CUDA libraries)

# Bytecode is compiled here: without it every process of Ray would compile everything anew.
$(STAMP): $(LOCK) requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=path/to/python3" >&2; exit 1; }
	@echo "installing about 4 GB into $(VENV): minutes, or a quarter of an hour on a slow machine"
	$(PYTHON) -m venv $(VENV)
	@# The other of two packages with the same modules, from an earlier installation.
	$(BIN)/pip uninstall -qq --disable-pip-version-check --yes tensorflow$(if $(GPU),-cpu)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes \
		-r $(LOCK) -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

demo: setup ## train, serve and tag: DATA=folder BACKBONE=mobilenet PORT=8000 ARGS='key=value …'
	@PATH="$(CURDIR)/$(BIN):$$PATH" DATA="$(DATA)" BACKBONE="$(BACKBONE)" PORT="$(PORT)" \
		METRICS_PORT="$(METRICS_PORT)" \
		ARGS="$(ARGS)" sh scripts/demo.sh

# Two workers: one core would wait while the other imports TensorFlow or starts Ray.
PARALLEL := $(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder --max-worker-restart 0

test: setup ## run the tests, but for slow ones, real photographs, the image, and deliberate faults
	$(PARALLEL) -m 'not faults and not image and not cluster and not slow and not data' $(ARGS)

test-all: setup ## run all tests
	$(PARALLEL) -m 'not faults and not cluster' $(ARGS)
	$(BIN)/pytest -m faults $(ARGS)

test-cluster: setup ## run the tests on the Kubernetes cluster of KUBECONFIG (tests/cluster/kubernetes.py)
	$(BIN)/pytest -m cluster tests/cluster $(ARGS)

bench: setup ## measure: BUNDLE=folder IMAGES=folder ARGS='--triton PYTHON'; needs wrk
	$(BIN)/python -m benchmarks.bench --bundle $(BUNDLE) --images $(IMAGES) $(ARGS)

k8s: setup ## write the generated parts of the Helm chart and its renderings (needs helm, or HELM=PROGRAM)
	$(BIN)/python -m scripts.chart

check: setup ## lint, format, types, import rules and documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet

docs: setup ## serve the documentation site: DOCS_PORT=8100
	$(BIN)/mkdocs serve --dev-addr 127.0.0.1:$(DOCS_PORT)

format: setup ## put the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## resolve the dependencies anew (needs uv)
	$(COMPILE) --extra load --extra heif --extra redis --group cpu -o requirements.lock pyproject.toml
	$(COMPILE) --no-config --extra load --extra heif --extra redis --extra gpu -c requirements.lock -o requirements-gpu.lock pyproject.toml
	$(COMPILE) --group dev --group docs -c requirements.lock -o requirements-dev.lock
	$(COMPILE) --group sbom -o requirements-sbom.lock

sbom: setup ## write sbom.json: what .venv is made of, with licences, as CycloneDX
	$(PYTHON) -m venv $(VENV)-sbom
	$(VENV)-sbom/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-sbom.lock
	$(VENV)-sbom/bin/cyclonedx-py environment --output-reproducible --of JSON -o sbom.json $(VENV)

clean: ## remove what make made
	rm -rf $(VENV) $(VENV)-sbom demo
