"""Requests that no application can answer, and such as are only written in an unusual form."""

from __future__ import annotations

import socket

import pytest

from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.ingress.settings import IngressSettings
from tests.serve.ingress.client import problem, raw
from tests.serve.ingress.conftest import Start

pytestmark = pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")

SETTINGS = IngressSettings(host="127.0.0.1")
ALLOW = "GET, HEAD, OPTIONS, POST"
WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize("running", ["", "ab"])
@pytest.mark.parametrize(
    ("line", "headers", "expected"),
    [
        ("GET /", WEBSOCKET, (400, "bad_request")),
        ("GET /v1/tags", WEBSOCKET, (400, "bad_request")),
        ("GET /v1/explanations", WEBSOCKET, (400, "bad_request")),
        ("GET /nothing", WEBSOCKET.replace("websocket", "WebSocket"), (400, "bad_request")),
        ("CONNECT here:80", "", (405, "method_not_allowed")),
        ("GET *", "", (400, "bad_request")),
    ],
)
def test_nonsense_is_the_clients_error(
    start: Start, running: str, line: str, headers: str, expected: tuple[int, str]
) -> None:
    """Also while no replica runs: another attempt would not help."""
    host = "here:80" if line.startswith("CONNECT") else "here"
    with start(SETTINGS, running=running) as ingress:
        answer = raw(ingress, f"{line} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode())
        assert not [replica for replica in ingress.replicas.values() if replica.headers]
    assert (problem(answer).status, problem(answer).kind) == expected
    assert answer.headers.get("Allow") == (ALLOW if answer.status_code == 405 else None)


def test_options_of_the_whole_server_has_all_methods(start: Start) -> None:
    with start(SETTINGS, running="") as ingress:
        answer = raw(ingress, b"OPTIONS * HTTP/1.1\r\nHost: here\r\n\r\n")
    assert (answer.status_code, answer.headers["Allow"], answer.content) == (204, ALLOW, b"")
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("http://here/v1/model", ""),
        ("http://here", ""),
        # Java's client sends these with each request of HTTP/1.1.
        (
            "/v1/model",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
        ),
    ],
)
def test_a_request_in_another_form_is_answered(start: Start, target: str, headers: str) -> None:
    with start(SETTINGS) as ingress:
        request = f"GET {target} HTTP/1.1\r\nHost: here\r\n{headers}\r\n".encode()
        assert raw(ingress, request).status_code == 200


def test_http_1_0_without_a_host_is_answered(start: Start) -> None:
    request = b"POST /v1/tags HTTP/1.0\r\nContent-Length: 5\r\n\r\nimage"
    with (
        start(SETTINGS) as ingress,
        socket.create_connection(("127.0.0.1", ingress.port), timeout=30) as connection,
    ):
        connection.sendall(request)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
