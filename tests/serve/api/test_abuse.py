"""Malicious requests to a real server: it refuses them, and still answers the next client."""

from __future__ import annotations

import contextlib
import io
import socket
import zipfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.conftest import Server
from tests.serve.conftest import multipart
from tests.sockets import until_closed

pytestmark = pytest.mark.ray

TAGS = b"POST /v1/tags HTTP/1.1\r\nHost: pintag\r\n"
MODEL = b"GET /v1/model HTTP/1.1\r\nHost: pintag\r\n"
LONG = 1 << 19


def picture(form: str = "JPEG") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 120, 40)).save(content, form)
    return content.getvalue()


@pytest.fixture(autouse=True)
def server_still_answers(server: Server) -> Iterator[None]:
    """After each test, the next client gets its tags."""
    yield
    answer = httpx.post(f"{server.url}/v1/tags", content=picture(), timeout=60)
    assert answer.status_code == 200, answer.text


def send(server: Server, request: bytes) -> bytes:
    """Everything that the server sends over a connection until it closes it."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        # The server may close the connection before it has read the whole request.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
        return until_closed(connection)


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    "request_",
    [
        MODEL + b"X-Long: " + b"a" * LONG + b"\r\n\r\n",
        MODEL + b"".join(b"X-%d: a\r\n" % number for number in range(20_000)) + b"\r\n",
        b"GET /v1/model?" + b"a" * LONG + b" HTTP/1.1\r\nHost: pintag\r\n\r\n",
        b"GET /" + b"a/" * LONG + b" HTTP/1.1\r\nHost: pintag\r\n\r\n",
        b"A" * LONG,
    ],
    ids=["a long header", "many headers", "a long query", "a long path", "no request"],
)
def test_an_oversized_head_is_refused(server: Server, request_: bytes) -> None:
    assert all(400 <= status < 500 for status in statuses(send(server, request_)))


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: five\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n",
        b"X-Null: a\x00b\r\n",
        b" folded: a\r\n",
        b"X Space: a\r\n",
    ],
)
def test_an_ambiguous_head_is_refused_and_nothing_after_it_is_read(
    server: Server, head: bytes
) -> None:
    # Request smuggling: with another body length, a server would see a second request.
    hidden = MODEL + b"\r\n"
    [status] = statuses(send(server, TAGS + head + b"\r\n" + b"12345" + hidden))
    assert 400 <= status < 500


@pytest.mark.parametrize("size", [b"ffffffffffffffffff", b"-1", b"zz", b""])
def test_a_chunk_of_an_invalid_size_is_refused(server: Server, size: bytes) -> None:
    request = TAGS + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n12345\r\n0\r\n\r\n"
    [status] = statuses(send(server, request))
    assert 400 <= status < 500


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/v1/..%2f..%2fetc/passwd"],
)
def test_path_traversal_finds_nothing(server: Server, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: pintag\r\nConnection: close\r\n\r\n"
    answer = send(server, request.encode())
    assert statuses(answer) == [404]
    assert b"root:" not in answer


@pytest.mark.parametrize("name", ["../../../tmp/evil.jpg", "/etc/passwd", "C:\\x", "a" * 1000])
def test_the_name_of_an_uploaded_file_has_no_effect(server: Server, name: str) -> None:
    answer = httpx.post(
        f"{server.url}/v1/tags", files={"image": (name, picture(), "text/html")}, timeout=60
    )
    assert answer.status_code == 200
    assert name not in answer.text


def test_a_form_with_ten_thousand_parts_is_refused(server: Server) -> None:
    body = multipart(*[b"x"] * 10_000)
    head = {"content-type": "multipart/form-data; boundary=edge"}
    answer = httpx.post(f"{server.url}/v1/tags", content=body, headers=head, timeout=60)
    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]


def polyglots() -> dict[str, bytes]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("evil.html", "<script>alert(1)</script>")
    script = b"<script>alert(1)</script>"
    jpeg = picture()
    comment = b"\xff\xfe" + (len(script) + 2).to_bytes(2, "big") + script
    return {
        "an image with an archive after it": jpeg + archive.getvalue(),
        "an image with a page in its comment": jpeg[:2] + comment + jpeg[2:],
        "an image with a page after it": picture("GIF") + b"/*" + script + b"*/",
    }


@pytest.mark.parametrize("name", polyglots())
def test_a_polyglot_that_starts_as_an_image_is_tagged(server: Server, name: str) -> None:
    answer = httpx.post(f"{server.url}/v1/tags", content=polyglots()[name], timeout=60)
    assert answer.status_code == 200
    # The browser does not interpret the answer as anything else.
    assert answer.headers["content-type"] == "application/json"
    assert "script" not in answer.text


@pytest.mark.parametrize("before", [b"%PDF-1.7\n", b"<html>", b"#!/bin/sh\n", b"PK\x03\x04"])
def test_a_file_that_only_ends_as_an_image_is_refused(server: Server, before: bytes) -> None:
    answer = httpx.post(f"{server.url}/v1/tags", content=before + picture(), timeout=60)
    assert answer.status_code in (400, 415, 422)
    assert answer.headers["content-type"] == "application/problem+json"
