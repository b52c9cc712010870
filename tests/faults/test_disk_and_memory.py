"""A full disk, and a replica that runs out of memory: what clients see."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from PIL import Image

from benchmarks import openloop
from benchmarks.openloop import Outcomes
from pintag.serve.ingress.installation import has_haproxy
from tests.conftest import Server, haproxy_config, lives, serving, wait_for
from tests.faults.conftest import replicas, watched

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
    pytest.mark.skipif(os.geteuid() != 0, reason="limits of disk and memory need root"),
]

RATE = 50


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A file system of 64 MB."""
    # The paths of sockets must be short: the tests' own folder is too deep.
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
    """A server whose Ray processes write all their files to that disk."""
    log = tmp_path_factory.mktemp("faults") / "log"
    settings = ("classifier.cache_bytes=0", "explainer.enabled=false")
    files = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
    }
    environment = {name: str(disk / "h" / file) for name, file in files.items()}
    with serving(quick_dir, log, *settings, RAY_TMPDIR=str(disk), **environment) as server:
        yield server


def fill(disk: Path) -> Path:
    """Write until the disk is full."""
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
    return filling


def replicas_in_haproxy(server: Server) -> int:
    """The number of replicas in HAProxy's configuration."""
    return haproxy_config(server.process).count("\n    server SERVE_REPLICA_classifier")


def test_a_full_disk_loses_no_request_even_when_a_replica_dies_meanwhile(
    server: Server, disk: Path, body: bytes
) -> None:
    before = set(replicas(server))
    victim = min(before, key=lambda replica: replica.pid)
    with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
        watch.wait_for_answers(1)
        filling = fill(disk)
        assert psutil.disk_usage(str(disk)).free == 0
        watch.wait_for_answers(3)
        victim.kill()
        wait_for(lambda: not lives(victim), 10, "the end of the replica")
        # Ray starts no replica while there is no space for its log.
        watch.wait_for_answers(5)
        filling.unlink()
        wait_for(lambda: len(replicas(server)) == 2, 120, "a new replica")
        wait_for(lambda: replicas_in_haproxy(server) == 2, 60, "the new replica in HAProxy")
        watch.wait_for_answers(1)
    print(f"\na full disk: {watch.summary()}")
    assert watch.outcomes.statuses() == {200: len(watch.outcomes)}, watch.summary()


@contextlib.contextmanager
def memory_limit(process: psutil.Process, more: int) -> Iterator[None]:
    """Limit the memory that a process may take from now on to `more` bytes, by a cgroup."""
    root = Path("/sys/fs/cgroup")
    old = root / "memory"
    group = (old if old.is_dir() else root) / f"pintag{os.getpid()}"
    limit = "memory.limit_in_bytes" if old.is_dir() else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(more))
        (group / "cgroup.procs").write_text(str(process.pid))
    except OSError as error:
        pytest.skip(f"memory cannot be limited here: {error}")
    try:
        yield
    finally:
        # The group cannot be removed before the process has ended.
        wait_for(lambda: try_to_remove(group), 30, "the end of the process")


def try_to_remove(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def send_from_two_clients(url: str, images: list[bytes], answers: Outcomes) -> None:
    """Send all images of both clients at once.

    A client has one decoder of a replica: a second client makes the replica start another one.
    """
    with ThreadPoolExecutor(2) as clients:
        for source in ("127.0.0.2", "127.0.0.3"):
            clients.submit(
                openloop.run, url, images, [0] * len(images), outcomes=answers, source=source
            )


def test_a_replica_that_runs_out_of_memory_loses_no_request(server: Server, body: bytes) -> None:
    """The kernel kills it; the other replica has enough memory for the image."""
    content = io.BytesIO()
    # An image of few bytes that has 25 MB of pixels. One that takes longer, by its header, would
    # leave a decoder to others, and so the second decoder would not start.
    Image.new("RGBA", (2500, 2500), (200, 30, 30, 128)).save(content, "PNG")
    large = [content.getvalue()] * 2
    url = f"{server.url}/v1/tags"
    victim = min(replicas(server), key=lambda replica: replica.pid)
    answers = Outcomes()
    with watched(url, [body], RATE) as watch:
        watch.wait_for_answers(1)
        with memory_limit(victim, 1 << 24):
            until = time.monotonic() + 60
            while lives(victim):
                assert time.monotonic() < until, "the images take no memory of the replica"
                send_from_two_clients(url, large, answers)
        wait_for(lambda: len(replicas(server)) == 2, 120, "a new replica")
        watch.wait_for_answers(1)
    print(f"\nout of memory: {watch.summary()}, and {len(answers)} large images")
    assert watch.outcomes.statuses() == {200: len(watch.outcomes)}, watch.summary()
    assert answers.statuses() == {200: len(answers)}
