"""A server whose disk is full, and a replica whose memory is: what clients see of it."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from serve.server import has_haproxy
from tests.conftest import Server, haproxy_config, lives, serving, wait_for
from tests.faults.conftest import replicas, watched
from tests.load import openloop
from tests.load.openloop import Fates

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
    pytest.mark.skipif(os.geteuid() != 0, reason="bounds of disk and memory need root"),
]

RATE = 50


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A small one."""
    # Paths of sockets are short: not below the tests' own folder.
    folder = Path(tempfile.mkdtemp(prefix="pt"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


@pytest.fixture(scope="module")
def server(
    disk: Path, quick_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """With all that Ray writes on that disk."""
    log = tmp_path_factory.mktemp("faults") / "log"
    settings = ("classifier.cache_bytes=0", "explainer.enabled=false")
    files = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
    }
    environment = {name: str(disk / "h" / file) for name, file in files.items()}
    with serving(quick_dir, log, *settings, RAY_TMPDIR=str(disk), **environment) as found:
        yield found


def fill(disk: Path) -> Path:
    """To the last byte."""
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
    return filling


def known(server: Server) -> int:
    """How many replicas HAProxy has."""
    return haproxy_config(server.process).count("\n    server SERVE_REPLICA_classifier")


def test_a_full_disk_costs_no_request_nor_does_a_replica_that_dies_meanwhile(
    server: Server, disk: Path, body: bytes
) -> None:
    before = set(replicas(server))
    victim = min(before, key=lambda each: each.pid)
    with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
        watch.sees(1)
        filling = fill(disk)
        assert psutil.disk_usage(str(disk)).free == 0
        watch.sees(3)
        victim.kill()
        wait_for(lambda: not lives(victim), 10, "its end")
        # Ray starts none while there is no room for its log.
        watch.sees(5)
        filling.unlink()
        wait_for(lambda: len(replicas(server)) == 2, 120, "a new replica")
        wait_for(lambda: known(server) == 2, 60, "it in HAProxy")
        watch.sees(1)
    print(f"\na full disk: {watch.told()}")
    assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()


@contextlib.contextmanager
def bounded(process: psutil.Process, more: int) -> Iterator[None]:
    """A process that may take so many bytes more, and not one beyond."""
    root = Path("/sys/fs/cgroup")
    old = root / "memory"
    group = (old if old.is_dir() else root) / f"pintag{os.getpid()}"
    limit = "memory.limit_in_bytes" if old.is_dir() else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(more))
        (group / "cgroup.procs").write_text(str(process.pid))
    except OSError as error:
        pytest.skip(f"no memory can be bounded here: {error}")
    try:
        yield
    finally:
        # What is left of the process is in it for a moment more.
        wait_for(lambda: removed(group), 30, "its end")


def removed(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def test_a_replica_that_grows_past_its_memory_costs_no_request(server: Server, body: bytes) -> None:
    """It is killed over a picture that another one has room for."""
    content = io.BytesIO()
    # Of few bytes, and 36 MB of pixels.
    Image.new("RGBA", (3000, 3000), (200, 30, 30, 128)).save(content, "PNG")
    large = [content.getvalue()] * 2
    url = f"{server.url}/v1/tags"
    victim = min(replicas(server), key=lambda each: each.pid)
    answers = Fates()
    with watched(url, [body], RATE) as watch:
        watch.sees(1)
        with bounded(victim, 1 << 24):
            while lives(victim):
                # Two at once: each replica has one.
                openloop.run(url, large, [0, 0], fates=answers)
        wait_for(lambda: len(replicas(server)) == 2, 120, "a new replica")
        watch.sees(1)
    print(f"\nout of memory: {watch.told()}, and {len(answers)} large ones")
    assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()
    assert answers.statuses() == {200: len(answers)}
