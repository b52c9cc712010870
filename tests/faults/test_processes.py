"""Processes of a server are killed under load, one after the other: what its clients see.

docs/faults.md has the results of these tests, and what the server guarantees.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from pintag.models.manifest import WEIGHTS
from pintag.serve.api.schemas import Problem
from pintag.serve.config import HttpConfig
from pintag.serve.ingress.installation import has_haproxy
from tests.conftest import HAPROXY, SUPERVISOR, Server, descendants, lives, serving, wait_for
from tests.faults.conftest import Watch, replicas, watched

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

RATE = 50
DEADLINE_S = 3.0
SUSPENDED_S = 20
# Longer than two checks of HAProxy, and less than the deadline.
STALLED_S = 2.6
# If all replicas hang. A busy machine may take five seconds longer.
LATEST_S = 2 * DEADLINE_S + 2 + 5
# The watch's clock starts a moment before the clock of its uploads.
CLOCK_DIFFERENCE_S = 0.2


@pytest.fixture(scope="module")
def models(quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(quick_dir, tmp_path_factory.mktemp("faults") / "bundle"))


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        models, tmp_path_factory.mktemp("faults") / "log",
        "classifier.cache_bytes=0", "explainer.cache_bytes=0",
        f"classifier.deadline_s={DEADLINE_S:g}", f"explainer.deadline_s={DEADLINE_S:g}",
    ) as started:  # fmt: skip
        yield started


@dataclass(frozen=True)
class Outage:
    """Uploads while processes were killed; all times are seconds of the watch's clock."""

    watch: Watch
    begin: float
    """The time just before the processes were killed."""
    end: float
    """The time at which a new process was running."""


def kill_all(server: Server, body: bytes, words: str) -> Outage:
    """Kill all processes whose command line contains `words`, under load."""
    victims = descendants(server.process, words)
    assert victims, f"there is no process {words}"
    with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
        watch.wait_for_answers(1)
        begin = watch.now()
        for victim in victims:
            # An old HAProxy process may end by itself at this moment.
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        wait_for(
            lambda: descendants(server.process, words).keys() - victims.keys(), 90, f"a new {words}"
        )
        end = watch.now()
        watch.wait_for_answers(2)
    wait_for(lambda: len(replicas(server)) == 2, 90, "both replicas")
    print(f"\n{words}: {watch.summary()}")
    return Outage(watch, begin, end)


def command_line(process: psutil.Process) -> str:
    """The command line of a process; empty if it has ended."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def all_answered(watch: Watch) -> bool:
    """Whether every request got status 200.

    At a reload HAProxy closes idle connections; one or two may be in use again at that moment
    (decision 20), and their client would send again.
    """
    failed = [outcome for outcome in watch.outcomes if outcome.status != 200]
    return len(failed) <= 2 and all(outcome.idle_closed for outcome in failed)


@pytest.mark.parametrize(
    "words",
    ["ServeController", "ray::ProxyActor", "ServeReplica:explainer:", "ray::HAProxyManager"],
)
def test_killing_a_process_that_tags_do_not_need_loses_no_request(
    server: Server, body: bytes, words: str
) -> None:
    watch = kill_all(server, body, words).watch
    assert all_answered(watch), watch.summary()


def test_a_killed_haproxy_loses_only_its_requests_in_flight(server: Server, body: bytes) -> None:
    """It is started again at once, and new connections wait meanwhile."""
    outage = kill_all(server, body, HAPROXY)
    watch = outage.watch
    failed = [outcome for outcome in watch.outcomes if outcome.status != 200]
    assert len(failed) <= 3, watch.summary()
    for outcome in failed:
        assert outcome.due < outage.end, watch.summary()
        assert outcome.due + outcome.seconds > outage.begin - CLOCK_DIFFERENCE_S, watch.summary()
    # No request waited until HAProxy gave a replica up, which it does after the deadline.
    assert watch.worst() < DEADLINE_S, watch.summary()


def test_ray_starts_a_haproxy_again_that_was_killed_with_its_supervisor(
    server: Server, body: bytes
) -> None:
    """Until then every connection is refused, because only HAProxy listens on the port."""
    outage = kill_all(server, body, SUPERVISOR)
    watch = outage.watch
    assert watch.failed()
    assert watch.recovery() < 30, watch.summary()


def test_requests_of_a_suspended_replica_are_answered_after_the_deadline(
    server: Server, body: bytes
) -> None:
    victim = replicas(server)[0]
    # Two at a time: with one the first replica would get all requests.
    with watched(f"{server.url}/v1/tags", [body], RATE, burst=2) as watch:
        watch.wait_for_answers(1)
        victim.suspend()
        try:
            watch.wait_for_answers(SUSPENDED_S)
        finally:
            victim.resume()
        watch.wait_for_answers(1)
    print(f"\nSIGSTOP for {SUSPENDED_S} s: {watch.summary()}")
    assert all_answered(watch), watch.summary()
    # The other replica answered before the suspended one was resumed.
    assert DEADLINE_S < watch.worst() < SUSPENDED_S, watch.summary()
    wait_for(lambda: len(replicas(server)) == 2, 90, "both replicas")


def test_uploads_wait_if_all_replicas_and_rays_proxy_stall(server: Server, body: bytes) -> None:
    """As when a busy machine gives none of them a processor for some seconds."""
    stalled = [*replicas(server), *descendants(server.process, "ray::ProxyActor")]
    with watched(f"{server.url}/v1/tags", [body], 20) as watch:
        watch.wait_for_answers(1)
        for process in stalled:
            process.suspend()
        try:
            time.sleep(STALLED_S)
        finally:
            for process in stalled:
                process.resume()
        watch.wait_for_answers(2)
    print(f"\nall stall for {STALLED_S} s: {watch.summary()}")
    assert all_answered(watch), watch.summary()


def test_requests_of_every_kind_end_if_all_replicas_are_suspended(
    server: Server, body: bytes
) -> None:
    """At first, and again when HAProxy knows that no replica answers."""
    large = body + bytes(HttpConfig().retry_bytes)
    requests: dict[str, tuple[str, str, dict[str, Any]]] = {
        "an image": ("POST", "/v1/tags", {"content": body}),
        "a form": ("POST", "/v1/tags", {"files": {"image": body}}),
        "a batch": ("POST", "/v1/tags:batch", {"content": len(body).to_bytes(4) + body}),
        "the page": ("GET", "/", {}),
        "the model": ("GET", "/v1/model", {}),
        "a large image": ("POST", "/v1/tags", {"content": large}),
    }

    def send(kind: str) -> httpx.Response:
        method, path, contents = requests[kind]
        return httpx.request(method, f"{server.url}{path}", timeout=LATEST_S, **contents)

    victims = replicas(server)
    for victim in victims:
        victim.suspend()
    try:
        with ThreadPoolExecutor(len(requests)) as pool:
            for _ in range(2):
                for kind, answer in zip(requests, pool.map(send, requests), strict=True):
                    found = Problem.model_validate_json(answer.text)
                    assert (answer.status_code, found.kind) == (504, "deadline"), kind
    finally:
        for victim in victims:
            victim.resume()
    wait_for(lambda: send("the model").status_code == 200, 90, "an answer")
    wait_for(lambda: len(replicas(server)) == 2, 90, "both replicas")


def test_an_explanation_ends_if_the_explainer_is_suspended_and_tags_do_not_wait(
    server: Server, body: bytes
) -> None:
    (victim,) = descendants(server.process, "ServeReplica:explainer:")

    def explained() -> httpx.Response:
        return httpx.post(f"{server.url}/v1/explanations", content=body, timeout=LATEST_S)

    victim.suspend()
    try:
        with watched(f"{server.url}/v1/tags", [body], 5) as watch:
            for _ in range(2):
                answer = explained()
                found = Problem.model_validate_json(answer.text)
                assert (answer.status_code, found.kind) == (504, "deadline")
    finally:
        victim.resume()
    assert all_answered(watch), watch.summary()
    wait_for(lambda: explained().status_code == 200, 90, "an explanation")


def test_an_upload_may_take_longer_than_the_deadline(server: Server, body: bytes) -> None:
    """The body is larger than HAProxy's buffer, so a replica receives it part by part."""
    parts = [body, *[bytes(HttpConfig().retry_bytes // 8)] * 8]

    def slowly() -> Iterator[bytes]:
        for part in parts:
            yield part
            time.sleep(DEADLINE_S / 4)

    head = {"content-length": str(sum(map(len, parts)))}
    # Bytes after an image's end are ignored.
    answer = httpx.post(f"{server.url}/v1/tags", content=slowly(), headers=head, timeout=60)
    assert answer.status_code == 200, answer.text


def test_a_bundle_damaged_on_disk_loses_no_request_until_a_replica_starts(
    server: Server, models: Path, body: bytes
) -> None:
    """A killed replica cannot start again, so the other one answers until the file is restored."""
    weights = models / WEIGHTS
    good = weights.read_bytes()
    before = set(replicas(server))
    victim = min(before, key=lambda replica: replica.pid)
    new_replicas: set[psutil.Process] = set()

    def one_failed() -> bool:
        new_replicas.update(set(replicas(server)) - before)
        return any(not lives(replica) for replica in new_replicas)

    with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
        watch.wait_for_answers(1)
        weights.write_bytes(b"damaged")
        victim.kill()
        wait_for(one_failed, 60, "the end of a replica that cannot start")
        weights.write_bytes(good)
        wait_for(lambda: len(replicas(server)) == 2, 120, "a new replica")
    print(f"\nkilled while the bundle was damaged: {watch.summary()}")
    assert len(watch.failed()) <= 1, watch.summary()


def test_a_thousand_slow_senders_delay_no_other_request(server: Server, body: bytes) -> None:
    """Each sends one byte now and then (a Slowloris attack).

    After a reload the old HAProxy process closes such connections, and the senders connect again.
    """
    address = httpx.URL(server.url)

    def slow() -> socket.socket:
        sender = socket.create_connection((address.host, address.port), timeout=60)
        sender.sendall(b"POST /v1/tags HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n")
        return sender

    senders: list[socket.socket] = []
    try:
        senders += (slow() for _ in range(1000))
        with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
            for _ in range(3):
                for index, sender in enumerate(senders):
                    try:
                        sender.send(b"X")
                    except OSError:
                        sender.close()
                        senders[index] = slow()
                watch.wait_for_answers(1)
    finally:
        for sender in senders:
            sender.close()
    print(f"\n1,000 slow senders: {watch.summary()}")
    assert all_answered(watch), watch.summary()


def test_a_killed_manager_leaves_no_processes_behind(server: Server, body: bytes) -> None:
    kill_all(server, body, "ray::HAProxyManager")
    assert psutil.Process(server.process.pid).is_running()
    assert len(replicas(server)) == 2
    # The old HAProxy process runs until its last client disconnects. It is not a descendant of the
    # server any more, because its manager is dead.
    wait_for(lambda: descendants(server.process, SUPERVISOR), 60, "a supervisor")
    command = next(iter(descendants(server.process, SUPERVISOR))).cmdline()
    config = command[command.index("-f") + 1]
    wait_for(
        lambda: sum(config in command_line(process) for process in psutil.process_iter()) == 2,
        60,
        "one supervisor and one HAProxy",
    )
