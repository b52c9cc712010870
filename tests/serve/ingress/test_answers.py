"""Every error that leaves HAProxy is a problem with a request id."""

from __future__ import annotations

import socket
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest

from pintag.serve.api.schemas import Problem
from pintag.serve.environment import has_haproxy
from pintag.serve.ingress.settings import IngressSettings
from tests.serve.ingress.conftest import Start
from tests.serve.ingress.replicas import PROBLEM

pytestmark = pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")

SETTINGS = IngressSettings(host="127.0.0.1", max_ongoing_requests=3, cluster="own")


def problem(answer: httpx.Response) -> Problem:
    """The problem of an answer, after the checks that hold for all."""
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.headers["X-Request-ID"]
    found = Problem.model_validate_json(answer.text)
    assert found.status == answer.status_code
    return found


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


def test_a_websocket_is_refused_and_reaches_no_replica(start: Start) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "WebSocket", "Sec-WebSocket-Version": "13"}
    with start(SETTINGS) as ingress:
        # HAProxy refuses a handshake without a key itself.
        headers = {**upgrade, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        for path in ("/", "/v1/tags", "/v1/explanations"):
            answer = httpx.get(ingress.url + path, headers=headers)
            assert (problem(answer).status, problem(answer).kind) == (400, "bad_request")
            assert "WebSockets" in problem(answer).detail


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


def test_one_image_is_rescued_after_the_deadline(start: Start) -> None:
    settings = replace(SETTINGS, answer_timeout_s=60, deadline_s=0.5)
    with start(settings, retries="response-timeout") as ingress:
        ingress.replicas["classifier-a"].hangs.set()
        # With another limit, and so without the header of this one.
        for path, rescued in (("/v1/tags", True), ("/v1/tags:batch", False)):
            url = f"{ingress.url}{path}"
            if rescued:
                assert httpx.post(url, content=b"image").text == "classifier-b"
            else:
                with pytest.raises(httpx.ReadTimeout):
                    httpx.post(url, content=b"image", timeout=2)
            header = ingress.replicas["classifier-a"].headers[-1]
            assert header.get("x-request-timeout-seconds") == ("1" if rescued else None)
            # Otherwise the next request goes to the idle one.
            ingress.replicas["classifier-a"].headers.clear()


@pytest.mark.parametrize("name", ["x-request-timeout-seconds", "X-Request-Disconnect-Disabled",
                                  "x-session-id", "serve_multiplexed_model_id",
                                  "serve-multiplexed-model-id"])  # fmt: skip
def test_headers_that_control_ray_do_not_reach_it(start: Start, name: str) -> None:
    with start(SETTINGS) as ingress:
        for value in (b"1", b"\xff\xfe"):
            headers = [(name.encode(), value), (b"X-Mine", b"kept")]
            assert httpx.post(f"{ingress.url}/v1/tags", headers=headers).status_code == 200
        received = [
            header for replica in ingress.replicas.values() for header in replica.headers
        ]  # fmt: skip
    assert len(received) == 2
    assert all(header["x-mine"] == "kept" and name.lower() not in header for header in received)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(b"mine", True), (b"my own id", True), (b"\xc3\xa9", False), (b"\xff", False), (b"", False),
     (b"x" * 257, False), (None, False)],
)  # fmt: skip
def test_a_request_id_that_is_not_printable_is_replaced(
    start: Start, sent: bytes | None, kept: bool
) -> None:
    with start(SETTINGS) as ingress:
        headers = [] if sent is None else [(b"X-Request-ID", sent)]
        answer = httpx.post(f"{ingress.url}/v1/tags?status=500", headers=headers)
        [received] = [
            header["x-request-id"]
            for replica in ingress.replicas.values()
            for header in replica.headers
        ]
    assert answer.headers["X-Request-ID"] == received
    assert (received.encode() == sent) == kept
    assert len(received) == 36 or kept


def test_traces_are_passed_on_unless_ray_cannot_decode_them(start: Start) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with start(SETTINGS) as ingress:
        for value in (trace.encode(), b"\xff"):
            httpx.post(f"{ingress.url}/v1/tags", headers=[(b"traceparent", value)])
        found = [
            header.get("traceparent")
            for replica in ingress.replicas.values()
            for header in replica.headers
        ]
    assert found in ([trace, None], [None, trace])


def test_http_1_0_without_a_host_is_answered(start: Start) -> None:
    request = b"POST /v1/tags HTTP/1.0\r\nContent-Length: 5\r\n\r\nimage"
    with (
        start(SETTINGS) as ingress,
        socket.create_connection(("127.0.0.1", ingress.port), timeout=30) as connection,
    ):
        connection.sendall(request)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_an_answer_of_another_cluster_never_reaches_a_client(start: Start) -> None:
    """Its replica has taken the port of one of ours."""
    with start(SETTINGS) as ingress:
        for replica in ingress.replicas.values():
            replica.cluster = "other"
        answer = httpx.post(f"{ingress.url}/v1/tags?body=wrong", content=b"image")
    assert (problem(answer).status, problem(answer).kind) == (503, "unavailable")


def test_a_request_that_another_clusters_replica_gets_is_sent_again(start: Start) -> None:
    with start(SETTINGS, retries="conn-failure 425") as ingress:
        url = f"{ingress.url}/v1/tags"
        ingress.replicas["classifier-a"].misdirected = True
        for _ in range(4):
            assert httpx.post(url, content=b"image").text == "classifier-b"
