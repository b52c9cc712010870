"""Processes of a server killed under load, one after the other: what its clients see of it.

docs/faults.md has what each of these said, and what is promised.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from pintag import bundle
from serve.config import HttpConfig
from serve.server import has_haproxy
from tests.conftest import HAPROXY, WATCH, Server, descendants, lives, serving, wait_for
from tests.faults.conftest import Watch, replicas, watched

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

RATE = 50
DEADLINE_SECONDS = 3.0


@pytest.fixture(scope="module")
def models(quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(quick_dir, tmp_path_factory.mktemp("faults") / "bundle"))


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        models, tmp_path_factory.mktemp("faults") / "log",
        "classifier.cache_bytes=0", "explainer.cache_bytes=0",
        f"classifier.deadline_seconds={DEADLINE_SECONDS:g}",
    ) as found:  # fmt: skip
        yield found


def killed(server: Server, body: bytes, words: str) -> tuple[Watch, float]:
    """What clients saw of the death of all processes of a name, and when it was."""
    victims = descendants(server.process, words)
    assert victims, f"there is no {words}"
    with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
        watch.sees(1)
        when = watch.now()
        for each in victims:
            # An old HAProxy may be on its way out by itself.
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        wait_for(
            lambda: descendants(server.process, words).keys() - victims.keys(), 90, f"a new {words}"
        )
        watch.sees(2)
    wait_for(lambda: len(replicas(server)) == 2, 90, "both replicas")
    print(f"\n{words}: {watch.told()}")
    return watch, when


def commanded(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def spared(watch: Watch) -> bool:
    """Whether no request failed."""
    return watch.fates.statuses() == {200: len(watch.fates)}


@pytest.mark.parametrize(
    "words",
    ["ServeController", "ray::ProxyActor", "ServeReplica:explainer:", "ray::HAProxyManager"],
)
def test_what_tags_do_without_costs_none(server: Server, body: bytes, words: str) -> None:
    watch, _ = killed(server, body, words)
    assert spared(watch), watch.told()


def test_a_killed_haproxy_costs_what_it_had_at_that_moment(server: Server, body: bytes) -> None:
    """It is started again at once, and those who come meanwhile wait."""
    watch, when = killed(server, body, HAPROXY)
    assert len(watch.failed()) <= 3, watch.told()
    assert all(abs(due - when) < 0.2 for due in watch.failed()), watch.told()
    assert watch.worst() < 1


def test_a_haproxy_that_was_killed_with_its_watch_comes_back_by_itself(
    server: Server, body: bytes
) -> None:
    """Ray does that; it is the only way in of its machine, and until then nobody gets in."""
    watch, _ = killed(server, body, WATCH)
    assert watch.failed()
    assert watch.recovery() < 30, watch.told()


def test_a_suspended_replica_keeps_what_it_had_for_the_deadline(
    server: Server, body: bytes
) -> None:
    victim = replicas(server)[0]
    # By pairs: with one at a time the first replica would have them all.
    with watched(f"{server.url}/v1/tags", [body], RATE, together=2) as watch:
        watch.sees(1)
        victim.suspend()
        try:
            watch.sees(20)
        finally:
            victim.resume()
        watch.sees(1)
    print(f"\nSIGSTOP for 20 s: {watch.told()}")
    assert spared(watch), watch.told()
    assert DEADLINE_SECONDS < watch.worst() < 3 * DEADLINE_SECONDS, watch.told()
    wait_for(lambda: len(replicas(server)) == 2, 90, "both replicas")


def test_an_upload_may_take_longer_than_an_answer(server: Server, body: bytes) -> None:
    """Above what HAProxy waits for, so that a replica has it the while."""
    parts = [body, *[bytes(HttpConfig().retry_bytes // 8)] * 8]

    def slowly() -> Iterator[bytes]:
        for part in parts:
            yield part
            time.sleep(DEADLINE_SECONDS / 4)

    head = {"content-length": str(sum(map(len, parts)))}
    # What follows a picture's end is of no meaning.
    answer = httpx.post(f"{server.url}/v1/tags", content=slowly(), headers=head, timeout=60)
    assert answer.status_code == 200, answer.text


def test_a_bundle_damaged_on_disk_costs_nothing_until_a_replica_starts(
    server: Server, models: Path, body: bytes
) -> None:
    """And then the other one goes on alone until the file is as it was."""
    weights = models / bundle.WEIGHTS
    good = weights.read_bytes()
    before = set(replicas(server))
    victim = min(before, key=lambda each: each.pid)
    seen: set[psutil.Process] = set()

    def one_failed() -> bool:
        seen.update(set(replicas(server)) - before)
        return any(not lives(each) for each in seen)

    with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
        watch.sees(1)
        weights.write_bytes(b"damaged")
        victim.kill()
        wait_for(one_failed, 60, "the end of a replica that cannot start")
        weights.write_bytes(good)
        wait_for(lambda: len(replicas(server)) == 2, 120, "a new replica")
    print(f"\nkilled over a damaged bundle: {watch.told()}")
    assert len(watch.failed()) <= 1, watch.told()


def test_a_thousand_slow_senders_keep_nobody_waiting(server: Server, body: bytes) -> None:
    """Each sends a byte of its head, and then another one, now and then (slow-loris).

    A HAProxy that is succeeded, as the tests before may still have it, turns such a one away, who
    comes again.
    """
    address = httpx.URL(server.url)

    def slow() -> socket.socket:
        found = socket.create_connection((address.host, address.port), timeout=10)
        found.sendall(b"POST /v1/tags HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n")
        return found

    senders: list[socket.socket] = []
    try:
        senders += (slow() for _ in range(1000))
        with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
            for _ in range(3):
                for place, sender in enumerate(senders):
                    try:
                        sender.send(b"X")
                    except OSError:
                        sender.close()
                        senders[place] = slow()
                watch.sees(1)
    finally:
        for sender in senders:
            sender.close()
    print(f"\n1,000 slow senders: {watch.told()}")
    assert spared(watch), watch.told()


def test_nothing_was_left_behind(server: Server) -> None:
    assert psutil.Process(server.process.pid).is_running()
    assert len(replicas(server)) == 2
    # One that was replaced is there until its last client has gone; that of a killed manager is
    # nobody's child.
    command = next(iter(descendants(server.process, WATCH))).cmdline()
    config = command[command.index("-f") + 1]
    wait_for(
        lambda: sum(config in commanded(each) for each in psutil.process_iter()) == 2,
        60,
        "one watch and one HAProxy",
    )
