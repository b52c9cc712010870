"""What waits for a client costs other clients nothing: a real HAProxy in front of fake replicas."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.ingress.settings import IngressSettings
from tests.conftest import wait_for
from tests.serve.ingress.conftest import Ingress, Start
from tests.sockets import until_closed

pytestmark = pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")

BUFFER = IngressSettings().buffer_bytes
LIMIT = 3
SETTINGS = IngressSettings(
    host="127.0.0.1", max_ongoing_requests=LIMIT, body_timeout_s=30, max_waiting_bodies=1000
)
# One client may have a quarter of the large requests, here four of 16.
SHARE, MANY = 4, replace(SETTINGS, max_ongoing_requests=8)
HEAD = b"POST /v1/tags HTTP/1.1\r\nHost: here\r\n"
LARGE = HEAD + b"Content-Length: 400000\r\n\r\n" + bytes(2 * BUFFER)
# What a client sends before it stops. Each replica admits three requests; there are two replicas.
STALLED = {
    "nothing": b"",
    "half a head": b"POST /v1/tags HTTP/1.1\r\nHo",
    "one byte of a small body": HEAD + b"Content-Length: 400\r\n\r\nx",
    "one byte of a large body": HEAD + b"Content-Length: 400000\r\n\r\nx",
    "more of a large body than the buffer": LARGE,
    "one chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    "more chunks than the buffer": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"100\r\n%b\r\n" % bytes(256) * 128,
    "a body of a request without one": b"GET /v1/tags HTTP/1.1\r\nHost: here\r\n"
    b"Content-Length: 9\r\n\r\nx",
    "one byte of an image to explain": b"POST /v1/explanations HTTP/1.1\r\nHost: here\r\n"
    b"Content-Length: 400\r\n\r\nx",
}


@pytest.mark.parametrize(
    ("path", "form", "length", "refused"),
    [
        ("/v1/tags", False, 101, 100),
        ("/v1/explanations/", False, 101, 100),
        ("/v1/tags", True, 101, None),
        ("/v1/tags:batch", False, 101, None),
        ("/v1/tags", True, 1001, 1000),
        ("/v1/tags:batch", False, 1001, 1000),
        ("/v1/tags", False, 100, None),
    ],
)
def test_a_body_that_is_announced_too_long_is_refused_before_it_is_sent(
    start: Start, path: str, form: bool, length: int, refused: int | None
) -> None:
    settings = replace(SETTINGS, max_image_bytes=100, max_request_bytes=1000)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {length}\r\n"
    )
    head += "Content-Type: multipart/form-data; boundary=a\r\n" if form else ""
    data = f"{head}\r\n".encode() + (b"" if refused else bytes(length))
    with start(settings) as ingress, held(ingress, data, 1) as (connection,):
        answer = until_closed(connection)
    if refused:
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert f"the body exceeds the limit of {refused:,} bytes".encode() in answer
    else:
        assert answer.startswith(b"HTTP/1.1 200 ")


@contextlib.contextmanager
def held(
    ingress: Ingress, data: bytes, count: int, source: str = "127.0.0.1"
) -> Iterator[list[socket.socket]]:
    """So many connections from an address that have sent this, and send nothing more."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            address = ("127.0.0.1", ingress.port)
            connection = stack.enter_context(socket.create_connection(address, 30, (source, 0)))
            # HAProxy may have refused the request before all of it is sent.
            with contextlib.suppress(OSError):
                connection.sendall(data)
            sockets.append(connection)
        yield sockets


@pytest.mark.parametrize("data", STALLED.values(), ids=STALLED)
def test_clients_that_stop_sending_cost_others_nothing(start: Start, data: bytes) -> None:
    with start(SETTINGS) as ingress, held(ingress, data, 10 * LIMIT):
        for _ in range(3):
            assert httpx.post(f"{ingress.url}/v1/tags", content=b"image").status_code == 200


def test_a_body_that_does_not_arrive_gets_408_and_the_connection_is_closed(start: Start) -> None:
    settings = replace(SETTINGS, body_timeout_s=0.3)
    for name in ("one byte of a small body", "one byte of a large body", "one chunk"):
        with start(settings) as ingress, held(ingress, STALLED[name], 1) as [connection]:
            answer = until_closed(connection)
        assert answer.startswith(b"HTTP/1.1 408 "), name
        assert b'"kind":"late_body"' in answer


def test_http_2_is_refused_before_a_replica_gets_it(start: Start) -> None:
    """RFC 9113: a preface, settings, and requests whose bodies neither have a length nor end."""
    path, end_of_headers = b"/v1/tags", 4
    # RFC 7541: `:method: POST` and `:scheme: http` are in the static table.
    fields = b"\x83\x86\x04%c%b\x01\x01a" % (len(path), path)
    streams = b"".join(
        len(fields).to_bytes(3) + bytes([1, end_of_headers]) + number.to_bytes(4) + fields
        for number in range(1, 200, 2)
    )
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + streams
    with start(SETTINGS) as ingress, held(ingress, data, LIMIT) as [connection, *_]:
        answer = b""
        while b"send HTTP/1.1" not in answer:
            answer += connection.recv(1 << 16)
        assert b'"status":505' in answer
        assert httpx.post(f"{ingress.url}/v1/tags", content=b"image").status_code == 200


def test_requests_over_the_limit_are_refused_when_their_bodies_have_arrived(start: Start) -> None:
    complete = HEAD + b"Content-Length: 5\r\n\r\nimage"
    with start(SETTINGS) as ingress:
        for replica in ingress.replicas.values():
            replica.hangs.set()
        with held(ingress, complete, 2 * LIMIT):
            answer = httpx.post(f"{ingress.url}/v1/tags", content=b"image")
        assert (answer.status_code, answer.json()["kind"]) == (503, "overloaded")
        assert int(answer.headers["Retry-After"]) >= 1


@contextlib.contextmanager
def stalled_uploads(ingress: Ingress, count: int, source: str = "127.0.0.1") -> Iterator[None]:
    """So many large bodies that stop, each received by a replica before the next one begins."""

    def received() -> int:
        return sum(len(replica.headers) for replica in ingress.replicas.values())

    with contextlib.ExitStack() as stack:
        for _ in range(count):
            more = received() + 1
            stack.enter_context(held(ingress, LARGE, 1, source))
            wait_for(lambda: received() == more, 30, "the head at a replica")  # noqa: B023
        yield


def is_refused(ingress: Ingress, source: str = "127.0.0.1") -> bool:
    """Whether one more large body gets 503 at once."""
    with held(ingress, LARGE, 1, source) as [connection]:
        return until_closed(connection).startswith(b"HTTP/1.1 503 ")


def test_one_address_gets_a_quarter_of_the_large_requests(start: Start) -> None:
    """Three addresses send more of a large body than the buffer, and stop."""
    with start(MANY) as ingress, contextlib.ExitStack() as stack:
        for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            stack.enter_context(stalled_uploads(ingress, SHARE, source))
            assert is_refused(ingress, source)
        url = f"{ingress.url}/v1/tags"
        for data in (bytes(2 * BUFFER), b"small"):
            assert httpx.post(url, content=data).status_code == 200


def test_the_share_is_one_request_at_least(start: Start) -> None:
    with start(SETTINGS) as ingress:
        answer = httpx.post(f"{ingress.url}/v1/tags", content=bytes(2 * BUFFER))
        assert answer.status_code == 200
        with stalled_uploads(ingress, 1):
            assert is_refused(ingress)


def test_behind_a_proxy_only_all_large_requests_together_are_bounded(start: Start) -> None:
    settings = replace(SETTINGS, max_waiting_bodies=0)
    with start(settings) as ingress, stalled_uploads(ingress, 2 * LIMIT):
        assert is_refused(ingress)


def test_a_large_body_that_stops_frees_its_place_at_the_replicas_408(start: Start) -> None:
    """HAProxy closes the connection: it would wait for the rest of the body, for an hour here."""
    with start(SETTINGS) as ingress:
        for replica in ingress.replicas.values():
            replica.body_timeout_s = 0.3
        for _ in range(3):
            with held(ingress, LARGE, 1) as [connection]:
                head, _, body = until_closed(connection).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 ")
            assert b"\r\ncontent-type: application/problem+json\r\n" in head
            assert b"\r\nx-request-id: " in head
            assert body == b'{"detail":"of the replica","kind":"late_body"}'


@pytest.mark.parametrize("stalled", ["one chunk", "more of a large body than the buffer"])
def test_the_addresses_of_an_ipv6_network_are_one_client(start: Start, stalled: str) -> None:
    def data(network: int, host: int) -> bytes:
        address = f"2001:db8:0:{network}::{host}"
        return f"PROXY TCP6 {address} ::1 1024 80\r\n".encode() + STALLED[stalled]

    settings = replace(MANY, max_waiting_bodies=SHARE)
    with start(settings, proxied=True) as ingress, contextlib.ExitStack() as stack:
        for network in (1, 2):
            sockets = [
                stack.enter_context(held(ingress, data(network, host), 1))[0]
                for host in range(1, SHARE + 2)
            ]
            # Two threads of HAProxy at once may refuse one more.
            refused, _, _ = select.select(sockets, [], [], 30)
            assert refused[0].recv(1 << 16)[:12] in (b"HTTP/1.1 429", b"HTTP/1.1 503")


def test_one_address_may_have_so_many_bodies_on_their_way(start: Start) -> None:
    settings = replace(SETTINGS, max_waiting_bodies=4)
    with start(settings) as ingress, held(ingress, STALLED["one chunk"], 5) as connections:
        # HAProxy's threads take them in any order, and two at once may refuse one more.
        refused, _, _ = select.select(connections, [], [], 30)
        assert 0 < len(refused) < len(connections)
        for connection in refused:
            answer = connection.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b'"kind":"too_many_uploads"' in answer
        # A body that comes with its head waits for nothing.
        with held(ingress, HEAD + b"Content-Length: 5\r\n\r\nimage", 1) as [whole]:
            assert whole.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_bodies_that_have_arrived_do_not_count_as_waiting(start: Start) -> None:
    settings = replace(SETTINGS, max_waiting_bodies=1, max_ongoing_requests=100)
    with start(settings) as ingress:
        for replica in ingress.replicas.values():
            replica.hangs.set()
        stalled = STALLED["one byte of a small body"]
        with held(ingress, stalled, 1) as [first]:
            # Its body is complete now, and it waits for the replica.
            first.sendall(bytes(399))
            hanging = ingress.replicas["classifier-a"]
            wait_for(lambda: bool(hanging.headers), 30, "the first request")
            with held(ingress, stalled, 1) as [second]:
                second.sendall(bytes(399))
                for replica in ingress.replicas.values():
                    replica.hangs.clear()
                assert first.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
                assert second.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_one_address_may_have_so_many_connections(start: Start) -> None:
    with start(replace(SETTINGS, max_connections=3)) as ingress, contextlib.ExitStack() as stack:
        kept = []
        for _ in range(6):
            with contextlib.suppress(ConnectionResetError):
                address = ("127.0.0.1", ingress.port)
                kept.append(stack.enter_context(socket.create_connection(address, timeout=30)))

        def closed() -> int:
            return 6 - len(kept) + len(select.select(kept, [], [], 0)[0])

        # The connection by which the fixture found HAProxy ready may have counted, too.
        wait_for(lambda: 3 <= closed() <= 4, 30, "the end of three connections")
    with start(replace(SETTINGS, max_connections=3)) as ingress:
        assert [httpx.get(ingress.url).status_code for _ in range(6)] == 6 * [200]


def test_without_settings_there_is_no_limit(start: Start) -> None:
    stalled = STALLED["one byte of a small body"]
    with start(IngressSettings(host="127.0.0.1")) as ingress, held(ingress, stalled, 20):
        assert httpx.post(f"{ingress.url}/v1/tags", content=b"image").status_code == 200
