"""A replica answers the HAProxy of its own cluster, and clients that come without one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from pintag.serve.ingress.identity import IdentifiedApplication, cluster_of
from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.ingress.settings import IngressSettings
from tests.serve.ingress.client import problem
from tests.serve.ingress.conftest import Start

SETTINGS = IngressSettings(host="127.0.0.1", cluster="own")
HEADER = b"x-pintag-cluster"


class Answering:
    """An application that answers 200."""

    routes = ("route",)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def receive() -> Any:
    """No application here reads a body."""
    raise AssertionError


def answer(*headers: tuple[bytes, bytes], kind: str = "http") -> dict[str, Any]:
    """The first message of the answer to a request with these headers."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    app = IdentifiedApplication(Answering(), "own")
    asyncio.run(app({"type": kind, "headers": headers}, receive, send))
    first: dict[str, Any] = sent[0]
    return first


def test_the_own_haproxys_header_comes_back() -> None:
    first = answer((b"x", b"y"), (HEADER, b"own"))
    assert first["status"] == 200
    assert first["headers"] == [(b"a", b"b"), (HEADER, b"own")]


def test_another_clusters_haproxy_is_told_to_try_elsewhere() -> None:
    first = answer((HEADER, b"other"))
    assert (first["status"], first["headers"]) == (425, [])


@pytest.mark.parametrize("kind", ["http", "lifespan"])
def test_without_a_header_nothing_changes(kind: str) -> None:
    """Ray's own proxy sends none."""
    assert answer(kind=kind)["headers"] == [(b"a", b"b")]


def test_the_routes_are_those_of_the_application() -> None:
    assert IdentifiedApplication(Answering(), "own").routes == ("route",)


def test_the_cluster_is_that_of_the_raylet_that_started_the_process() -> None:
    code = "import os, time; os.fork(); os.write(1, b'%d\\n' % os.getpid()); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--cluster-id=abc"], stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout
        for _ in range(2):
            assert cluster_of(int(process.stdout.readline())) == "abc"
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close()


def test_a_process_without_a_raylet_has_no_cluster() -> None:
    assert cluster_of(1) == ""
    assert cluster_of(2**22 + 1) == ""


@pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")
def test_an_answer_of_another_cluster_never_reaches_a_client(start: Start) -> None:
    """Its replica has taken the port of one of ours."""
    with start(SETTINGS) as ingress:
        for replica in ingress.replicas.values():
            replica.cluster = "other"
        answer = httpx.post(f"{ingress.url}/v1/tags?body=wrong", content=b"image")
    assert (problem(answer).status, problem(answer).kind) == (503, "unavailable")


@pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")
def test_a_request_that_another_clusters_replica_gets_is_sent_again(start: Start) -> None:
    with start(SETTINGS, retries="conn-failure 425") as ingress:
        url = f"{ingress.url}/v1/tags"
        ingress.replicas["classifier-a"].misdirected = True
        for _ in range(4):
            assert httpx.post(url, content=b"image").text == "classifier-b"
