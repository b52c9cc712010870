"""Requests whose client sends no body, or whose replica dies."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from pintag.serve.api.schemas import Problem
from pintag.serve.config import HttpConfig
from pintag.serve.ingress.installation import has_haproxy
from tests.conftest import Server, serving, wait_for
from tests.faults.conftest import replicas, watched
from tests.sockets import until_closed

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

RATE, SUSPENDED = 40, 0.5
BODY_SECONDS = 1.5


@pytest.fixture(scope="module")
def server(quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for this module only, because its replicas are killed."""
    settings = ("classifier.cache_bytes=0", f"classifier.images.body_timeout_s={BODY_SECONDS}")
    with serving(quick_dir, tmp_path_factory.mktemp("faults") / "log", *settings) as server:
        yield server


def upload(side: int = 512) -> bytes:
    """An image of more bytes than one read of a socket returns."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def test_a_body_that_does_not_arrive_gets_the_apis_own_408(server: Server) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/tags HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n"
            b"X-Request-ID: mine\r\n\r\nhalf"
        )
        answer = HTTPResponse(connection, method="POST")
        answer.begin()
        problem = Problem.model_validate_json(answer.read())
    assert (answer.status, problem.status, problem.kind) == (408, 408, "late_body")
    assert answer.getheader("X-Request-ID") == "mine"
    assert problem.detail == f"the body did not arrive within {BODY_SECONDS:g} s"
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "promise", ["Content-Length: 400", "Content-Length: 400000", "Transfer-Encoding: chunked"]
)
def test_clients_that_send_no_body_cost_others_nothing(server: Server, promise: str) -> None:
    """More of them than all replicas admit requests, from one address and without a key."""
    parts = urlsplit(server.url)
    head = f"POST /v1/tags HTTP/1.1\r\nHost: here\r\n{promise}\r\n\r\n1".encode()
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=30))
            for _ in range(300)
        ]
        for connection in held:
            connection.sendall(head)
        with watched(f"{server.url}/v1/tags", [upload()], RATE) as watch:
            watch.wait_for_answers(BODY_SECONDS / 2)
        assert not watch.failed(), watch.summary()
        # Each connection is closed after its 408.
        for connection in held:
            assert until_closed(connection).startswith(b"HTTP/1.1 408 ")


def test_large_uploads_that_stop_cost_other_addresses_nothing(server: Server) -> None:
    """Three addresses that send more of a body than HAProxy's buffer, on more sockets than fit."""
    parts, image = urlsplit(server.url), upload(1024)
    head = b"POST /v1/tags HTTP/1.1\r\nHost: here\r\nContent-Length: 400000\r\n\r\n"
    assert HttpConfig().retry_bytes < 300_000 < len(image)
    address = (parts.hostname, parts.port)
    with contextlib.ExitStack() as stack:
        held = []
        for last in (2, 3, 4):
            for _ in range(130):
                connection = socket.create_connection(address, 30, (f"127.0.0.{last}", 0))
                held.append(stack.enter_context(connection))
                # HAProxy may refuse it before all of it is sent.
                with contextlib.suppress(OSError):
                    connection.sendall(head + bytes(300_000))
        for _ in range(3):
            assert httpx.post(f"{server.url}/v1/tags", content=image).status_code == 200
        answers = Counter(until_closed(connection)[:12] for connection in held)
    # Those that were refused at once may have been closed before the answer was read.
    assert set(answers) <= {b"HTTP/1.1 408", b"HTTP/1.1 503", b""}
    assert answers[b"HTTP/1.1 408"] >= 3, answers
    # The places are free again, also for the addresses that had used their share.
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as client:
        assert client.post(f"{server.url}/v1/tags", content=image).status_code == 200


def photograph() -> bytes:
    """A photograph of 24 megapixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((6000, 4000)).save(content, "JPEG", quality=60)
    return content.getvalue()


def hostile_batches() -> list[bytes]:
    """A few bytes that declare from 49 to 1,000 megapixels."""
    content = io.BytesIO()
    Image.new("1", (7000, 7000)).save(content, "PNG")
    entry = len(content.getvalue()).to_bytes(4) + content.getvalue()
    return [entry * count for count in (20, 10, 6, 5, 3, 2, 1, 1)]


@contextlib.contextmanager
def repeated(url: str, bodies: list[bytes], address: str) -> Iterator[Counter[int]]:
    """Send each body again and again, all at the same time, from an address; their statuses."""
    statuses, done = Counter[int](), threading.Event()

    def repeat(body: bytes) -> None:
        transport = httpx.HTTPTransport(local_address=address)
        with httpx.Client(transport=transport, timeout=60) as client:
            while not done.is_set():
                statuses[client.post(url, content=body).status_code] += 1

    with ThreadPoolExecutor(len(bodies)) as pool:
        threads = [pool.submit(repeat, body) for body in bodies]
        try:
            yield statuses
        finally:
            done.set()
        for thread in threads:
            thread.result()


@pytest.mark.parametrize("times", [1, 6])
def test_batches_that_take_long_to_decode_cost_other_addresses_nothing(
    server: Server, times: int
) -> None:
    url, bodies = f"{server.url}/v1/tags", hostile_batches() * times
    with (
        repeated(f"{url}:batch", bodies, "127.0.0.2") as statuses,
        watched(url, [photograph()], rate=1) as watch,
    ):
        watch.wait_for_answers(10)
    print(f"\n{len(bodies)} hostile clients: {watch.summary()}; they got {dict(statuses)}")
    assert watch.outcomes.statuses() == {200: len(watch.outcomes)}, watch.summary()
    assert set(statuses) <= {200, 413, 503}
    assert statuses[413]


def test_a_replica_killed_while_it_has_requests_loses_none_of_them(server: Server) -> None:
    """They are sent to the other replica, and Ray starts a new one."""
    victim, other = replicas(server)
    # One replica of a busy machine must keep up with it; bytes after an image's end are ignored.
    body = upload(64) + bytes(100 * 1024)
    assert 64 * 1024 < len(body) < 256 * 1024
    # Two at a time: with one the first replica would get all requests.
    with watched(f"{server.url}/v1/tags", [body], RATE, burst=2) as watch:
        watch.wait_for_answers(1)
        # While it is suspended it answers nothing, so it has requests when it is killed.
        victim.suspend()
        watch.wait_for_answers(SUSPENDED)
        victim.kill()
        wait_for(lambda: len(replicas(server)) == 2, 60, "a new replica")
        watch.wait_for_answers(1)
    assert watch.outcomes.statuses() == {200: len(watch.outcomes)}, watch.summary()
    assert watch.worst() > SUSPENDED / 2
    print(f"\nsuspended and killed: {watch.summary()}")
    assert other in replicas(server)
    assert victim not in replicas(server)
