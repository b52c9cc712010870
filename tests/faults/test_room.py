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
from tests.conftest import Server, lives, serving, wait_for
from tests.faults.conftest import replicas, watched

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
    with serving(quick_dir, log, *settings, RAY_TMPDIR=str(disk)) as found:
        yield found


def fill(disk: Path) -> Path:
    """To the last byte."""
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
    return filling


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
        watch.sees(10)
        print(replicas(server))
        filling.unlink()
        wait_for(lambda: len(replicas(server)) == 2, 120, "a new replica")
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
        wait_for(lambda: not lives(process), 10, "its end")
        group.rmdir()


def test_a_replica_that_grows_past_its_memory_costs_no_request(server: Server) -> None:
    """It is killed over an image that another one has room for."""
    content = io.BytesIO()
    Image.effect_mandelbrot((6000, 6000), (-3, -2.5, 2, 2.5), 2).convert("RGB").save(
        content, "JPEG"
    )
    victim = min(replicas(server), key=lambda each: each.pid)
    with watched(f"{server.url}/v1/tags", [content.getvalue()], 4) as watch:
        watch.sees(1)
        with bounded(victim, 1 << 24):
            wait_for(lambda: not lives(victim), 60, "its end")
        wait_for(lambda: len(replicas(server)) == 2, 120, "a new replica")
        watch.sees(2)
    print(f"\nout of memory: {watch.told()}")
    assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()
