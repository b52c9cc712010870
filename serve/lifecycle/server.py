"""The server in the foreground: Ray, Ray Serve and the applications, until it is interrupted."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pintag.cluster import connection, local_node, ray_variables
from pintag.core import signals
from pintag.core.store import absolute
from pintag.core.types import Notify
from pintag.models.registry import Registry
from pintag.serve.auth import access
from pintag.serve.config import ServeConfig
from pintag.serve.ingress import installation
from pintag.serve.lifecycle import rollout, served_bundle, shutdown
from pintag.serve.lifecycle.applications import Applications, server_errors
from pintag.serve.nodes import addresses, capacity, controller, environment, ports

Ready = Callable[[str, Path], None]


def run(
    config: ServeConfig, uri: str, ready: Ready, notify: Notify, *, follow: bool = False
) -> None:
    """Serve a bundle until SIGINT or SIGTERM, on the cluster of `RAY_ADDRESS` or on a local one.

    Args:
        uri: the folder or URI of a bundle, or of a registry, whose current version is served.
        ready: called once, when the server answers, with its address and the folder of its logs.
        notify: called with a line of text for each event of a roll-out or of the candidate.
        follow: roll out each version that becomes the registry's current one.

    Raises:
        BundleError: the bundle cannot be loaded; raised before anything starts.
        DataError: the bundle's store cannot be reached, or denies access.
        ConfigError: the file of API keys is wrong.
        ServerError: an address is not usable, the server does not start, or the candidate's labels
            differ.
        ClusterError: nothing answers at `RAY_ADDRESS`, or a process of a local Ray has ended.
    """
    addresses.check_host(config.http.host)
    access.check(config)
    if silent := access.silent_redis(config):
        notify(silent)
    registry = rollout.registry(uri) if follow else Registry(absolute(uri))
    bundle_uri = registry.resolve()
    config = served_bundle.with_candidate(config, served_bundle.checked(config, bundle_uri), notify)
    _set_variables(config)
    applications = Applications(config, notify)
    with _connected(config, notify) as logs, local_node.watched() as check:
        capacity.warn(config, notify)
        applications.deploy(bundle_uri)
        try:
            ready(addresses.url(addresses.shown(config.http.host), config.http.port), logs)
            applications.start_candidate(bundle_uri)
            _wait(config, bundle_uri, registry if follow else None, applications, notify)
        except KeyboardInterrupt:
            check()
        notify("stopping: requests in flight are answered first")


def _wait(
    config: ServeConfig,
    serving: str,
    followed: Registry | None,
    applications: Applications,
    notify: Notify,
) -> None:
    """Roll out versions of a followed registry, until an interrupt."""
    if followed:
        check = functools.partial(served_bundle.checked, config)
        rollout.follow(followed, serving, check, applications.deploy, notify)
    threading.Event().wait()


def _set_variables(config: ServeConfig) -> None:
    """Set the variables that Ray reads when it is imported, and passes to its processes."""
    os.environ.update(environment.variables(config))
    if ray_variables.is_local():
        os.environ.update(installation.folders())
        os.environ.update(ports.variables(config))
    ray_variables.set_variables()


@contextlib.contextmanager
def _connected(config: ServeConfig, notify: Notify) -> Iterator[Path]:
    """Start Ray Serve for the block, and yield the folder of its logs on this node.

    SIGINT and SIGTERM interrupt the block.
    """
    with signals.interrupting(signal.SIGINT, signal.SIGTERM):
        logs = _connect_unless_interrupted(config, notify)
        is_shared = True
        try:
            is_shared = controller.is_running()
            _start(config)
            yield logs
        finally:
            shutdown.disconnect(config, notify, is_shared=is_shared)


def _connect_unless_interrupted(config: ServeConfig, notify: Notify) -> Path:
    """Connect to Ray, and return the folder of the logs on this node.

    A signal ends the program after that: a half-started Ray would not stop.
    """
    interrupted = threading.Event()
    # Ray sets a handler of SIGTERM too; after this block, the one of `_connected` counts again.
    with signals.handled(lambda *_: interrupted.set(), signal.SIGINT, signal.SIGTERM):
        session = _connect(config)
    if interrupted.is_set():
        shutdown.disconnect(config, notify)
        raise KeyboardInterrupt
    return session / "logs" / "serve"


def _connect(config: ServeConfig) -> Path:
    """Connect to Ray, and return the folder of its session on this node."""
    import ray

    ray_variables.check_address()
    options: dict[str, Any] = {}
    if ray_variables.is_local():
        for key, port in config.chosen_ports.items():
            ports.check_free(config.http.host, port, key)
        options |= ray_variables.local_options(capacity.min_cpus(config))
        options["_metrics_export_port"] = config.metrics.port
    context = connection.start(options)
    if not ray_variables.is_local():
        ports.check_nodes(config)
    capacity.check_gpus(config, ray.cluster_resources().get("GPU", 0))
    return Path(context.address_info["session_dir"])


def _start(config: ServeConfig) -> None:
    from ray import serve

    # Serve's driver logs every step at INFO; what a user needs is passed to `ready`.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with server_errors():
        serve.start(
            proxy_location="EveryNode",
            http_options={"host": config.http.host, "port": config.http.port},
            logging_config={"encoding": config.log.format.upper(), "log_level": "WARNING"},
        )
