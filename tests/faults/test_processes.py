"""Processes of a server killed under load, one after the other: what its clients see of it.

docs/faults.md has what each of these said, and what is promised.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from pintag import bundle
from serve.server import has_haproxy
from tests.conftest import Server, serving, wait_for
from tests.faults.conftest import Watch, processes, replicas, watched

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

RATE = 50


@pytest.fixture(scope="module")
def models(quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(quick_dir, tmp_path_factory.mktemp("faults") / "bundle"))


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        models, tmp_path_factory.mktemp("faults") / "log",
        "classifier.cache_bytes=0", "explainer.cache_bytes=0",
    ) as found:  # fmt: skip
        yield found


@pytest.fixture(scope="module")
def body(sample_dir: Path) -> bytes:
    return next((sample_dir / "test").rglob("*.jpg")).read_bytes()


def serves(server: Server, body: bytes) -> bool:
    try:
        return httpx.post(f"{server.url}/v1/tags", content=body, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def killed(server: Server, body: bytes, words: str, seconds: float = 12.0) -> Watch:
    """What clients saw of the death of every process of a name, which is there again afterwards."""
    victims = processes(server, words)
    assert victims, f"there is no {words}"
    with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
        time.sleep(3)
        for each in victims:
            # An old HAProxy may be on its way out by itself.
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        time.sleep(seconds - 3)
    wait_for(lambda: processes(server, words), 90, f"a new {words}")
    wait_for(lambda: len(replicas(server)) == 2, 90, "both replicas")
    wait_for(lambda: serves(server, body), 120, "an answer")
    print(f"\n{words}: {watch.told()}")
    return watch


@pytest.mark.parametrize("words", ["ServeController", "ray::ProxyActor", "ServeReplica:explainer:"])
def test_what_tags_do_without_costs_none(server: Server, body: bytes, words: str) -> None:
    watch = killed(server, body, words)
    assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()


@pytest.mark.parametrize("words", ["haproxy", "ray::HAProxyManager"])
def test_a_dead_haproxy_comes_back_by_itself(server: Server, body: bytes, words: str) -> None:
    """It is the only way in of its machine; with many, a load balancer takes another's."""
    watch = killed(server, body, words)
    assert watch.fates.statuses().keys() <= {0, 200, 404, 503}


def test_a_suspended_replica_keeps_only_what_it_had(server: Server, body: bytes) -> None:
    victim = replicas(server)[0]
    with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
        time.sleep(3)
        victim.suspend()
        resume = threading.Timer(20, victim.resume)
        resume.start()
        time.sleep(25)
        resume.join()
    print(f"\nSIGSTOP for 20 s: {watch.told()}")
    assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()
    wait_for(lambda: len(replicas(server)) == 2, 90, "both replicas")


def test_a_bundle_damaged_on_disk_costs_nothing_until_a_replica_starts(
    server: Server, models: Path, body: bytes
) -> None:
    """And then the other one goes on alone until the file is as it was."""
    weights = models / bundle.WEIGHTS
    good = weights.read_bytes()
    victim = replicas(server)[0]
    with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
        weights.write_bytes(b"damaged")
        victim.kill()
        wait_for(lambda: victim not in replicas(server), 30, "its end")
        time.sleep(10)
        weights.write_bytes(good)
        wait_for(lambda: len(replicas(server)) == 2, 120, "a new replica")
    print(f"\nkilled over a damaged bundle: {watch.told()}")
    assert watch.fates.statuses()[200] >= len(watch.fates) - 1, watch.told()


def test_a_thousand_slow_senders_keep_nobody_waiting(server: Server, body: bytes) -> None:
    """Each sends a byte of its head, and then another one, now and then (slow-loris)."""
    address = httpx.URL(server.url)
    senders = []
    try:
        for _ in range(1000):
            sender = socket.create_connection((address.host, address.port), timeout=10)
            sender.sendall(b"POST /v1/tags HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n")
            senders.append(sender)
        with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
            for _ in range(5):
                for sender in senders:
                    sender.send(b"X")
                time.sleep(1)
    finally:
        for sender in senders:
            sender.close()
    print(f"\n1,000 slow senders: {watch.told()}")
    assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()


def test_nothing_was_left_behind(server: Server) -> None:
    assert psutil.Process(server.process.pid).is_running()
    assert len(replicas(server)) == 2
