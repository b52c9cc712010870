"""Every error that leaves HAProxy is a problem with a request id."""

from __future__ import annotations

import socket
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest

from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.ingress.settings import IngressSettings
from tests.serve.ingress.client import problem, raw, read
from tests.serve.ingress.conftest import Ingress, Start
from tests.serve.ingress.replicas import PROBLEM

pytestmark = pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")

SETTINGS = IngressSettings(host="127.0.0.1", max_ongoing_requests=3, cluster="own")


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (500, "Internal Server Error", (500, "internal")),
        (503, "Request dropped due to backpressure", (503, "unavailable")),
        (404, "Path '/v1/tags' not found.", (503, "starting")),
        (408, "Request 1 timed out after 0.1s.", (504, "deadline")),
        (429, "Too many", (503, "overloaded")),
        (400, "Invalid HTTP request received.", (400, "bad_request")),
        (502, "The actor died unexpectedly", (502, "bad_gateway")),
        (507, "No space", (500, "internal")),
    ],
)
def test_rays_own_answers_become_problems(
    start: Start, status: int, text: str, expected: tuple[int, str]
) -> None:
    with start(SETTINGS) as ingress:
        url = f"{ingress.url}/v1/tags?status={status}&body={quote(text)}"
        answer = httpx.post(url, content=b"image", headers={"X-Request-ID": "mine"})
    found = problem(answer)
    assert (found.status, found.kind) == expected
    assert answer.headers["X-Request-ID"] == "mine"
    assert text != found.detail


def test_answers_of_the_api_are_passed_on_as_they_are(start: Start) -> None:
    with start(SETTINGS) as ingress:
        for status in (200, 400, 404, 503):
            url = f"{ingress.url}/v1/tags?status={status}&type={quote(PROBLEM)}&body=mine"
            answer = httpx.post(url, content=b"image")
            assert (answer.status_code, answer.text) == (status, "mine")
            assert "x-pintag-cluster" not in answer.headers


def test_without_a_replica_the_answer_is_a_problem(start: Start) -> None:
    with start(SETTINGS, running="") as ingress:
        answer = httpx.post(f"{ingress.url}/v1/tags", content=b"image", timeout=60)
    assert problem(answer).kind in {"unavailable", "overloaded"}
    assert answer.headers["Retry-After"] == "1"


def test_a_replica_that_hangs_gets_504(start: Start) -> None:
    settings = replace(SETTINGS, answer_timeout_s=0.3, explanation_timeout_s=0.3)
    with start(settings) as ingress:
        for replica in ingress.replicas.values():
            replica.hangs.set()
        for path in ("/v1/tags", "/v1/explanations"):
            answer = httpx.post(f"{ingress.url}{path}", content=b"image", timeout=60)
            assert (problem(answer).status, problem(answer).kind) == (504, "deadline")


BUFFER = SETTINGS.buffer_bytes
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
# Each kind of request of the classifier's backend that HAProxy can send again.
SMALL = {
    "an image": ("POST", "/v1/tags", b"image", {}),
    "a form": ("POST", "/v1/tags", b"image", FORM),
    "a batch": ("POST", "/v1/tags:batch", b"images", {}),
    "the page": ("GET", "/", b"", {}),
    "the model": ("GET", "/v1/model", b"", {}),
}
# And what it cannot: all of it is sent, or the replica takes only a part.
LARGE = {
    "a large image": ("POST", "/v1/tags", bytes(4 * BUFFER), {}),
    "an image that a replica stops reading": ("POST", "/v1/tags", bytes(20 * 2**20), {}),
}
Sent = tuple[str, str, bytes, dict[str, str]]


def send(ingress: Ingress, request: Sent) -> httpx.Response:
    method, path, body, headers = request
    url = f"{ingress.url}{path}"
    return httpx.request(method, url, content=body, headers=headers, timeout=60)


@pytest.mark.parametrize("request_", SMALL.values(), ids=SMALL)
def test_a_request_is_rescued_after_the_deadline(start: Start, request_: Sent) -> None:
    settings = replace(SETTINGS, answer_timeout_s=600, deadline_s=0.5)
    with start(settings, retries="response-timeout") as ingress:
        ingress.replicas["classifier-a"].hangs.set()
        assert send(ingress, request_).text == "classifier-b"
        # Ray's own proxy obeys it, if HAProxy knows that no replica answers.
        [received] = ingress.replicas["classifier-a"].headers
        assert received["x-request-timeout-seconds"] == "1"


@pytest.mark.parametrize("request_", (SMALL | LARGE).values(), ids=SMALL | LARGE)
def test_a_request_gets_504_if_all_replicas_hang(start: Start, request_: Sent) -> None:
    # A large request may take longer to read.
    limit = 0.7 if request_ in LARGE.values() else 600
    settings = replace(SETTINGS, answer_timeout_s=limit, deadline_s=0.5)
    with start(settings, retries="response-timeout") as ingress:
        for replica in ingress.replicas.values():
            replica.hangs.set()
        answer = send(ingress, request_)
    assert (problem(answer).status, problem(answer).kind) == (504, "deadline")
    assert "x-pintag-status" not in answer.headers


def test_a_replica_that_ends_during_an_upload_gets_502(start: Start) -> None:
    with start(SETTINGS) as ingress:
        answer = httpx.post(f"{ingress.url}/v1/tags?ends=1", content=bytes(4 * BUFFER), timeout=60)
    assert (problem(answer).status, problem(answer).kind) == (502, "bad_gateway")
    assert "x-pintag-status" not in answer.headers


def test_a_client_that_closes_its_side_gets_the_reason(start: Start) -> None:
    with (
        start(SETTINGS) as ingress,
        socket.create_connection(("127.0.0.1", ingress.port), timeout=30) as connection,
    ):
        connection.sendall(b"POST /v1/tags HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na")
        connection.shutdown(socket.SHUT_WR)
        answer = read(connection)
    assert "closed its side of the connection" in problem(answer).detail


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/tags HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n",
        b"POST /v1/tags HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + bytes(BUFFER).replace(b"\0", b"a") + b"\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=["no header", "two lengths", "too large", "no request"],
)
def test_a_head_that_haproxy_cannot_parse_gets_its_own_400(start: Start, head: bytes) -> None:
    """No option changes this text: see decision 28. If this fails, a new HAProxy can, so use it."""
    with start(SETTINGS) as ingress:
        answer = raw(ingress, head)
        assert not [replica for replica in ingress.replicas.values() if replica.headers]
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/html")
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("origins", [("https://shop.example", "https://b.example"), ("*",)])
def test_a_page_of_an_allowed_origin_can_read_haproxys_own_answers(
    start: Start, origins: tuple[str, ...]
) -> None:
    origin = {"Origin": "https://shop.example"}
    with start(replace(SETTINGS, cors_origins=origins), running="") as ingress:
        answer = httpx.post(f"{ingress.url}/v1/tags", content=b"image", headers=origin, timeout=60)
        other = httpx.post(
            f"{ingress.url}/v1/tags", content=b"image", headers={"Origin": "null"}, timeout=60
        )
        plain = httpx.post(f"{ingress.url}/v1/tags", content=b"image", timeout=60)
    assert problem(answer).status == 503
    assert answer.headers["Access-Control-Allow-Origin"] in (origin["Origin"], "*")
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    assert ("Access-Control-Allow-Origin" in other.headers) == ("*" in origins)
    assert "Access-Control-Allow-Origin" not in plain.headers


def test_a_page_can_read_what_replaces_an_answer_of_ray(start: Start) -> None:
    settings = replace(SETTINGS, cors_origins=("https://shop.example",))
    with start(settings) as ingress:
        answer = httpx.post(
            f"{ingress.url}/v1/tags?status=503&body=Busy",
            content=b"image",
            headers={"Origin": "https://shop.example"},
        )
    assert answer.headers.get_list("Access-Control-Allow-Origin") == ["https://shop.example"]
