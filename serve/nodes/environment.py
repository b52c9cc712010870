"""The environment variables that must be set before Ray starts, on every node."""

from __future__ import annotations

import math
import os
import sys
from typing import Literal

from pintag.cluster import ray_variables
from pintag.serve.config import ServeConfig
from pintag.serve.deployment_config import ImageConfig
from pintag.serve.ingress import installation

# Seconds that are added to the deadlines: on a busy machine it takes time to send an answer.
_SPARE_SECONDS = 1
_CLIENT_SPARE_SECONDS = 10

# Ray's exporter, which writes spans to files beside its logs. It is named, not imported: that would
# import Ray.
_FILE_EXPORTER = "ray.serve._private.tracing_utils:default_tracing_exporter"


def variables(config: ServeConfig) -> dict[str, str]:
    """All variables by name, Ray's and pintag's."""
    haproxy = installation.has_haproxy() if config.http.haproxy == "auto" else config.http.haproxy
    origins = " ".join(config.http.cors_origins)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": str(int(haproxy)),
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": str(int(config.http.throughput_optimized)),
        # With that, Ray would write a replica's log only after a thousand lines, or an error.
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
        **ray_variables.NODE_VARIABLES,
        **_draining(config),
        **_background_work(),
        **_retries(config.http.retry_bytes),
        **_client_timeout(config),
        **(_ingress(config) if haproxy and installation.has_haproxy() else _own_answers(config)),
        **(_haproxy_metrics(config.metrics.haproxy_port) if haproxy else {}),
        **({"PINTAG_ROOT_PATH": config.http.root_path} if config.http.root_path else {}),
        **({"PINTAG_CORS_ORIGINS": origins} if origins else {}),
        **(_traces(config.log.traces) if config.log.traces else {}),
    }


def _draining(config: ServeConfig) -> dict[str, str]:
    """How long a stopping node, proxy or replica, and an old HAProxy process, still answer."""
    seconds = config.http.drain_s
    return {
        # A node that gets SIGTERM has to wait until its replicas have drained and stopped.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": f"{config.draining_s:g}",
        # Ray does not accept zero here.
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": str(seconds or 0.1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(seconds),
        # After a reload the old HAProxy process keeps a stale list of replicas. By default it sends
        # the requests of open connections to them for two minutes, even if they have ended.
        "RAY_SERVE_HAPROXY_CLOSE_SPREAD_TIME_S": str(max(1, seconds // 2)),
    }


def _background_work() -> dict[str, str]:
    """How often Ray's own processes report and check, and at which niceness."""
    return {
        # By default Ray runs its workers at niceness 15, so that every other process goes first.
        "RAY_worker_niceness": "0",
        # By default Ray reports every ten seconds, but so much at once that requests have to wait.
        "RAY_metrics_report_interval_ms": "2000",
        # By default the controller runs ten times a second. It then takes 5 % of a core, together
        # with the requests that it sends.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        # By default Ray reads a line of HAProxy's log for each request, to count what the replicas
        # count as well.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # After three failed checks Ray starts a new manager of HAProxy. By default that takes half
        # a minute.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
    }


def _haproxy_metrics(port: int | Literal[False, "auto"]) -> dict[str, str]:
    """Where HAProxy's own metrics are; empty if a free port, or Ray's default, is used."""
    if port is False:
        return {"PINTAG_HAPROXY_METRICS": "0"}
    return {} if port == "auto" else {"RAY_SERVE_HAPROXY_METRICS_PORT": str(port)}


def _own_answers(config: ServeConfig) -> dict[str, str]:
    """Put pintag's middleware around Ray's HTTP servers, unless the user chose another one.

    HAProxy's rules do the same: see `api/ray_answers.py`.
    """
    name = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
    longest = max(_tag_deadline_s(config), config.explainer.deadline_s)
    return {
        name: os.environ.get(name) or "pintag.serve.api.ray_answers:middlewares",
        # A healthy replica has reported a late body, and has answered, before that.
        "PINTAG_BODY_TIMEOUT_S": f"{_body_timeout_s(config) + _SPARE_SECONDS:g}",
        "PINTAG_ANSWER_TIMEOUT_S": f"{2 * longest:g}",
    }


def _retries(buffer_bytes: int) -> dict[str, str]:
    """When HAProxy sends a request to another replica."""
    return {
        # A node that is gone does not refuse connections, so HAProxy must give up. Two seconds are
        # enough to send a lost packet again.
        "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "2",
        # These errors mean that a replica ended or hangs, and tagging an image twice does no harm.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response response-timeout 425",
        # A replica that refuses one connection is gone, so HAProxy stops using it. With three
        # refusals, Ray's default, a request could spend all its attempts on replicas that are gone.
        "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(buffer_bytes),
    }


def _client_timeout(config: ServeConfig) -> dict[str, str]:
    """How long HAProxy waits for a client that neither sends its request nor reads its answer.

    By default it is an hour. A replica has reported a late body before this time has passed.
    """
    seconds = math.ceil(_body_timeout_s(config)) + _CLIENT_SPARE_SECONDS
    return {"RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(seconds)}


def _tag_deadline_s(config: ServeConfig) -> float:
    """Seconds within which a healthy replica answers; a canary is tried before the own bundle."""
    canary = config.candidate.deadline_s if config.candidate.canary else 0
    return config.classifier.deadline_s + canary


def _body_timeout_s(config: ServeConfig) -> float:
    return max(limits.body_timeout_s for limits in _images(config))


def _images(config: ServeConfig) -> tuple[ImageConfig, ...]:
    return config.classifier.images, config.explainer.images


def _ingress(config: ServeConfig) -> dict[str, str]:
    """Make Ray start `pintag.serve.ingress`, not HAProxy; empty if the user chose a program."""
    program = str(installation.PROGRAM)
    # The image sets this variable to the same path, for nodes that start without these variables.
    if os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH", program) != program:
        return {}
    # A healthy replica answers before both deadlines have passed, one after the other.
    deadlines = config.classifier.deadline_s + config.candidate.deadline_s
    single = _tag_deadline_s(config)
    return {
        "RAY_SERVE_HAPROXY_BINARY_PATH": program,
        "PINTAG_HOST": config.http.host,
        "PINTAG_MAX_ONGOING_REQUESTS": str(config.classifier.max_ongoing_requests),
        "PINTAG_BODY_TIMEOUT_S": f"{config.classifier.images.body_timeout_s:g}",
        "PINTAG_ANSWER_TIMEOUT_S": f"{deadlines + _SPARE_SECONDS:g}",
        "PINTAG_DEADLINE_S": f"{single:g}",
        # HAProxy then notices before the deadline that a replica hangs: two checks must fail.
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": f"{_check_milliseconds(single)}ms",
        "PINTAG_EXPLANATION_TIMEOUT_S": f"{1.5 * config.explainer.deadline_s + _SPARE_SECONDS:g}",
        "PINTAG_MAX_IMAGE_BYTES": str(max(limits.max_bytes for limits in _images(config))),
        "PINTAG_MAX_REQUEST_BYTES": str(
            max(limits.max_request_bytes for limits in _images(config))
        ),
        "PINTAG_MAX_CONNECTIONS": str(config.http.max_connections_per_client),
        "PINTAG_MAX_WAITING_BODIES": str(config.http.max_waiting_bodies_per_client),
        "PINTAG_HAPROXY": installation.haproxy_binary(),
        "PINTAG_PYTHON": sys.executable,
    }


def _check_milliseconds(deadline_s: float) -> int:
    """The interval of HAProxy's health checks, which is also the time that a check may take."""
    return int(1000 * min(max(0.2 * deadline_s, 0.5), 3))


def _traces(share: float) -> dict[str, str]:
    """Trace this share of the requests by Ray's own spans, one for each request and replica."""
    name = "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"
    return {
        name: os.environ.get(name) or _FILE_EXPORTER,
        "RAY_SERVE_TRACING_SAMPLING_RATIO": str(share),
    }
