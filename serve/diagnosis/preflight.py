"""The checks before a server starts: of this machine or the cluster, and of the settings."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pintag.cluster import connection, ray_variables
from pintag.core.errors import PintagError
from pintag.serve.auth import access
from pintag.serve.config import ServeConfig
from pintag.serve.diagnosis import node, running_server
from pintag.serve.diagnosis.check import Check
from pintag.serve.nodes import addresses, capacity, ports, tasks


def diagnose(config: ServeConfig) -> list[Check]:
    """All checks: of the cluster of `RAY_ADDRESS` and its nodes, or else of this machine."""
    is_local = ray_variables.is_local()
    checks = node.checks() if is_local else [*_cluster_checks(config)]
    host = config.http.host
    # Neither ports nor who can reach them can be judged without an address.
    if reason := addresses.unusable(host):
        return [*checks, Check("http.host", False, f"{host}: {reason}", addresses.HOST_REMEDY)]
    return [*checks, *(_port_checks(config) if is_local else ()), *_access_checks(config)]


def _cluster_checks(config: ServeConfig) -> Iterator[Check]:
    address = os.environ["RAY_ADDRESS"]
    token = "a token" if ray_variables.has_token() else "no token"
    try:
        with connection.connected():
            yield Check("Ray's address", True, f"{address}, with {token}")
            for name, checks in tasks.call_on_each(node.checks).items():
                for check in checks:
                    yield Check(f"{name} {check.name}", check.passed, check.detail, check.remedy)
            yield _node_ports(config)
            yield _capacity(config)
    except PintagError as error:
        yield Check("Ray's address", False, f"{address}, with {token}", str(error))


def _node_ports(config: ServeConfig) -> Check:
    try:
        ports.check_nodes(config)
    except PintagError as error:
        return Check("ports", False, "one cannot be used", str(error))
    return Check("ports", True, "free on each node, or Ray Serve has them")


def _capacity(config: ServeConfig) -> Check:
    shortage = capacity.shortage_of_cluster(config)
    detail = shortage or "each replica finds a node"
    return Check("capacity", shortage is None, detail, capacity.REMEDY)


def _port_checks(config: ServeConfig) -> Iterator[Check]:
    is_own = {
        "http.port": running_server.answers,
        "metrics.port": running_server.exports_metrics,
        "metrics.haproxy_port": running_server.exports_metrics,
    }
    for key, port in config.chosen_ports.items():
        reason = addresses.taken(config.http.host, port)
        if reason is not None and is_own[key](config.http.host, port):
            yield Check(key, True, f"{port} has a pintag server; a second one needs {key}=PORT")
            continue
        remedy = f"choose another by {key}=PORT"
        yield Check(key, reason is None, f"{port} {reason or 'is free'}", remedy)
    # A server that runs here has these ports itself.
    if not running_server.answers(config.http.host, config.http.port):
        for name, text in ports.chosen().items():
            reason = addresses.taken("", int(text))
            remedy = f"choose another by the variable {name}"
            yield Check(name, reason is None, f"{text} {reason or 'is free'}", remedy)


def _access_checks(config: ServeConfig) -> Iterator[Check]:
    """Whether the settings `access` allow a server to start, and to count requests."""
    try:
        access.check(config)
    except PintagError as error:
        yield Check("access", False, str(error), "see `pintag key --help`")
        return
    keys = config.access.keys
    yield Check("access", True, f"the keys of {keys}" if keys else "no API keys")
    if keys and config.access.rate_limits.redis:
        silent = access.silent_redis(config)
        remedy = "start it, or check the URL and PINTAG_REDIS_PASSWORD"
        yield Check("rate limits", not silent, silent or "Redis answers", remedy)
