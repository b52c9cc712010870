"""The ports that a server uses, on this machine or on each node of a cluster."""

from __future__ import annotations

import errno
import os
import socket
from itertools import count
from typing import Literal

from pintag.cluster import ray_variables
from pintag.core.errors import ConfigError, ServerError
from pintag.serve.config import ServeConfig
from pintag.serve.nodes import addresses, controller, tasks

# 0: HAProxy has no metrics, and their port is not used.
_NO_HAPROXY_METRICS = "PINTAG_HAPROXY_METRICS"
HAPROXY_METRICS = "RAY_SERVE_HAPROXY_METRICS_PORT"
# Ray's default ports of HAProxy and of the proxy behind it, by the variable that changes each.
DEFAULTS = {
    HAPROXY_METRICS: 9101,
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
}
# The file descriptors of this process's reservations, by port: see `_reserve`.
_reserved: dict[int, int] = {}


def variables(config: ServeConfig) -> dict[str, str]:
    """Free ports for `DEFAULTS`, by variable: two servers on one machine need different ones.

    The search counts up from Ray's default ports. A port that the system chooses could be given to
    another process of Ray before it is used.

    Raises:
        ConfigError: a variable is not the number of a port.
        ServerError: nothing can listen on the port in a variable.
    """
    taken = set(config.chosen_ports.values())
    own = config.chosen_ports.get("metrics.haproxy_port")
    configured = {HAPROXY_METRICS: str(own)} if own else {}
    for name, port in chosen().items():
        if name not in configured and (reason := _refusal("", int(port))):
            raise ServerError(
                f"cannot listen on port {port}: {reason}; the variable {name} chooses another"
            )
    return {
        name: configured.get(name)
        or _chosen(name)
        or str(next(port for port in count(first) if port not in taken and _take(port)))
        for name, first in DEFAULTS.items()
    }


def _refusal(host: str, port: int) -> str | None:
    """Why this process cannot have a port; None if it has the port from now on."""
    reason = addresses.taken(host, port)
    if reason is None and not _reserve(port):
        reason = "another pintag serve is starting or stopping there"
    return reason


def chosen() -> dict[str, str]:
    """The ports that the user has chosen, by variable; without one that HAProxy does not use.

    Raises:
        ConfigError: a variable is not the number of a port.
    """
    used = (name for name in DEFAULTS if name != HAPROXY_METRICS or haproxy_metrics() is not None)
    return {name: port for name in used if (port := _chosen(name))}


def haproxy_metrics(setting: int | Literal[False, "auto"] = "auto") -> int | None:
    """The port of HAProxy's own metrics on this node; None: it has no metrics.

    Args:
        setting: `metrics.haproxy_port`. `auto`: the variables of this node decide.

    Raises:
        ConfigError: the variable for it is not the number of a port.
    """
    if setting is False or os.environ.get(_NO_HAPROXY_METRICS) == "0":
        return None
    if setting != "auto":
        return setting
    return int(_chosen(HAPROXY_METRICS) or DEFAULTS[HAPROXY_METRICS])


def _chosen(name: str) -> str:
    """The value of a variable for a port; empty if there is none."""
    text = os.environ.get(name, "")
    if text and not (text.isdecimal() and 0 < int(text) < 2**16):
        raise ConfigError(f"the variable {name} is {text!r}: give a port, 1 to 65535")
    return text


def check_free(host: str, port: int, key: str) -> None:
    """Check that a port is free. Ray would try for minutes, and then report another error.

    Args:
        key: the key of the configuration that chooses the port.

    Raises:
        ServerError: nothing can listen there.
    """
    reason = _refusal(host, port)
    if reason is not None:
        hint = (
            "; a server that was killed keeps this port for about a minute: wait, or stop its "
            "processes (ps -ef | grep dashboard/agent.py)"
            if key == "metrics.port"
            else ""
        )
        raise ServerError(
            f"cannot listen on {host}:{port}: {reason}; {key}=PORT chooses another{hint}"
        )


def check_nodes(config: ServeConfig) -> None:
    """Check that the server's ports are free on each node of the cluster.

    Without it a HAProxy would not start, or would send requests to another server's proxy. If Ray
    Serve runs on the cluster already, it has the ports itself.

    Raises:
        ServerError: one is taken, or nothing can listen on `http.host` there.
    """
    if controller.is_running():
        return
    host = config.http.host
    for node, found in tasks.call_on_each(_taken_here, host, config.http.port).items():
        for name, port, reason in found:
            if name == addresses.HOST_KEY:
                raise ServerError(
                    f"{name}={host} cannot be used on node {node}: {reason}; "
                    f"{addresses.HOST_REMEDY}"
                )
            raise ServerError(
                f"port {port} of node {node} cannot be used: {reason}; choose another by "
                + (f"{name}=PORT" if "." in name else f"{name}, set before `ray start` everywhere")
            )


def metrics(config: ServeConfig) -> tuple[int, int | None]:
    """The ports of Ray's metrics and of HAProxy's on this node; a cluster was started with its own.

    The second one is None if HAProxy has no metrics.

    Raises:
        ServerError: a node of the cluster does not answer.
    """
    if ray_variables.is_local():
        return config.metrics.port, haproxy_metrics()
    import ray

    here = ray.get_runtime_context().get_node_id()
    (node,) = (node for node in ray.nodes() if node["NodeID"] == here)
    return node["MetricsExportPort"], tasks.call_on(here, haproxy_metrics)


def _taken_here(host: str, port: int) -> list[tuple[str, int, str]]:
    """What cannot be used on this node: what chooses it, the port, and the reason."""
    if reason := addresses.unusable(host):
        return [(addresses.HOST_KEY, 0, reason)]
    ports = [("http.port", host, port)]
    ports += [
        (name, "", int(_chosen(name) or first))
        for name, first in DEFAULTS.items()
        if name != HAPROXY_METRICS or haproxy_metrics() is not None
    ]
    found = ((name, number, addresses.taken(address, number)) for name, address, number in ports)
    return [(name, number, reason) for name, number, reason in found if reason is not None]


def _take(port: int) -> bool:
    """Reserve a port if it is free."""
    return addresses.taken("", port) is None and _reserve(port)


def _reserve(port: int) -> bool:
    """Keep a port from other servers that start at the same time, until this process ends.

    A process reserves it by a Unix socket without a file (Linux's abstract namespace): one process
    of the machine can have it, and the kernel frees it when the process ends.
    """
    if port in _reserved:
        return True
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0pintag-port-{port}")
    except OSError as error:
        reservation.close()
        # Elsewhere there is no such namespace, and no reservation.
        return error.errno != errno.EADDRINUSE
    _reserved[port] = reservation.detach()
    return True
