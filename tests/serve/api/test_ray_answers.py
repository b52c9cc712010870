"""The middleware around Ray's own code: its plain answers become problems."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from pintag.serve.api import ray_answers
from pintag.serve.api.ray_answers import RayAnswers
from pintag.serve.ingress import refusals
from pintag.serve.ingress.clients import HEADER
from tests.serve.conftest import (
    ANSWER,
    DISCONNECT,
    Client,
    ScriptedTagger,
    body_of,
    drive,
    posted,
    problem,
)


class Ray:
    """Stands for Ray's code: it has one answer, and records the scope."""

    def __init__(self, answer: Response | BaseException | None) -> None:
        self._answer = answer
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        if isinstance(self._answer, BaseException):
            raise self._answer
        if self._answer is not None:
            await self._answer(scope, receive, send)


def through(answer: Response | BaseException | None, path: str = "/v1/tags") -> httpx.Response:
    return Client(RayAnswers(Ray(answer))).post(path, content=b"picture")


@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        (404, 503, "starting"),
        (408, 504, "deadline"),
        (429, 429, "too_many_requests"),
        (500, 500, "internal"),
        (503, 503, "overloaded"),
    ],
)
def test_a_plain_error_becomes_a_problem_without_rays_words(
    status: int, expected: int, kind: str
) -> None:
    response = through(PlainTextResponse("Deployment 'classifier' has no replica", status))
    refusal = problem(response, expected)
    assert refusal.kind == kind
    assert "Deployment" not in response.text


def test_a_server_without_its_application_says_when_to_try_again() -> None:
    response = through(PlainTextResponse("Path '/v1/tags' not found.", 404))
    assert problem(response, 503).detail == (
        "the server is starting or stopping; try again in a second"
    )
    assert response.headers["Retry-After"] == "1"


def test_the_headers_that_tell_a_client_what_to_do_are_kept() -> None:
    headers = {"Retry-After": "7", "X-Request-ID": "abc", "Server": "ray"}
    response = through(PlainTextResponse("backpressure", 503, headers))
    assert (response.headers["Retry-After"], response.headers["X-Request-ID"]) == ("7", "abc")
    assert "Server" not in response.headers


@pytest.mark.parametrize("answer", [RuntimeError("a worker died"), None])
def test_no_answer_becomes_a_problem(
    answer: Exception | None, logged: list[logging.LogRecord]
) -> None:
    response = through(answer)
    assert problem(response, 500).kind == "internal"
    assert "worker" not in response.text
    assert len(logged) == (1 if answer else 0)


def test_an_answer_before_a_cancellation_is_sent() -> None:
    """Ray answers, and then cancels its own task."""

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("Request abc timed out", 408)(scope, receive, send)
        raise asyncio.CancelledError

    sent: list[Any] = []

    async def call() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/tags", "headers": []}
        with pytest.raises(asyncio.CancelledError):
            await RayAnswers(late)(scope, send, send)  # type: ignore[arg-type]

    asyncio.run(call())
    assert [message.get("status") for message in sent] == [504, None]


@pytest.mark.parametrize(
    "answer",
    [JSONResponse(ANSWER), PlainTextResponse("fine"), JSONResponse({"kind": "x"}, 422)],
)
def test_other_answers_pass_unchanged(answer: Response) -> None:
    response = through(answer)
    assert (response.status_code, response.content) == (answer.status_code, answer.body)


def test_the_answers_of_health_checks_pass_unchanged() -> None:
    assert through(PlainTextResponse("DRAINING", 503), "/-/healthz").text == "DRAINING"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Request-Timeout-Seconds", b"0.001"),
        ("X-Request-Timeout-Seconds", b"\xff"),
        ("X-Request-Disconnect-Disabled", b"?1"),
        ("serve_multiplexed_model_id", b"other"),
        ("X-Session-Id", b"\xff"),
        ("X-Request-ID", b"\xff"),
        ("X-Request-ID", b"x" * 10_000),
        ("traceparent", b"\xff"),
        (HEADER, b"another client"),
    ],
)
def test_a_header_that_ray_would_obey_or_fail_to_decode_is_dropped(name: str, value: bytes) -> None:
    ray = Ray(JSONResponse({}))
    headers: Any = [(name, value), ("X-Request-ID", b"mine"), ("Accept", b"\xff")]
    Client(RayAnswers(ray)).post("/v1/tags", headers=headers)
    passed = dict(ray.scope["headers"])
    assert passed[b"x-request-id"] == b"mine"
    assert passed[b"accept"] == b"\xff"
    assert value not in {passed.get(name.lower().encode()), None}


def test_a_websocket_is_refused_by_a_problem() -> None:
    ray, sent = Ray(JSONResponse({})), list[Message]()

    async def call() -> None:
        async def send(message: Message) -> None:
            sent.append(message)

        scope = posted("/v1/tags") | {
            "type": "websocket",
            "extensions": {"websocket.http.response": {}},
        }
        await RayAnswers(ray)(scope, no_message, send)

    async def no_message() -> Message:
        raise AssertionError("nothing of the client is read")

    asyncio.run(call())
    start, body = sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 400)
    assert (b"content-type", b"application/problem+json") in start["headers"]
    refusal = json.loads(body["body"])
    assert (refusal["kind"], refusal["detail"]) == ("bad_request", refusals.NO_WEBSOCKETS)
    assert not ray.scope


class Waiting:
    """Stands for Ray's code with a replica that hangs: it only waits for the client to leave."""

    def __init__(self) -> None:
        self.received: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while not self.received or self.received[-1]["type"] != "http.disconnect":
            self.received.append(await receive())


PART: Message = {"type": "http.request", "body": b"half", "more_body": True}


@pytest.mark.parametrize(
    ("messages", "status", "kind"),
    [
        ([PART, body_of(b"picture")], 504, "deadline"),
        ([PART], 408, "late_body"),
        ([], 408, "late_body"),
    ],
)
def test_what_waits_for_a_replica_or_for_a_body_ends(
    messages: list[Message], status: int, kind: str
) -> None:
    """Ray hears that the client has left, and so cancels its own work."""
    ray, waited_for = Waiting(), [*messages]
    start, body = drive(RayAnswers(ray, "", 0.05, 0.05), [*messages])
    assert ray.received == [*waited_for, DISCONNECT]
    assert start["status"] == status
    assert json.loads(body["body"])["kind"] == kind
    # The rest of a late body is not read.
    assert ((b"connection", b"close") in start["headers"]) == (status == 408)


def test_the_time_for_the_answer_begins_when_the_body_has_arrived() -> None:
    times: list[float] = []

    async def slow() -> Message:
        # After the time for an answer, and before that for a body.
        await asyncio.sleep(0.05 if len(times) < 3 else 3600)
        times.append(asyncio.get_running_loop().time())
        return PART if len(times) < 3 else body_of(b"rest")

    async def call() -> None:
        await RayAnswers(Waiting(), "", 60, 0.01)(posted("/v1/tags"), slow, send)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(call())
    assert len(times) == 3
    assert sent[0]["status"] == 504


def test_an_answer_that_has_begun_is_not_replaced_when_it_is_late() -> None:
    async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await Waiting()(scope, receive, send)

    (start,) = drive(RayAnswers(hanging, "", 60, 0.05), [body_of(b"picture")])
    assert start["status"] == 200


def test_the_root_path_is_removed_before_ray_chooses_an_application() -> None:
    ray = Ray(JSONResponse({}))
    Client(RayAnswers(ray, root_path="/pintag")).post("/pintag/v1/explanations")
    assert ray.scope["path"] == "/v1/explanations"


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (["https://shop.example"], "https://shop.example", "https://shop.example"),
        (["https://shop.example"], "https://other.example", None),
        (["*"], "https://other.example", "*"),
        (["*"], "", None),
        ([], "https://shop.example", None),
    ],
)
def test_a_page_of_an_allowed_origin_can_read_rays_refusals(
    origins: list[str], origin: str, allowed: str | None
) -> None:
    app = RayAnswers(Ray(PlainTextResponse("Busy", 503)), cors_origins=origins)
    headers = {"Origin": origin} if origin else {}
    answer = Client(app).post("/v1/tags", headers=headers)
    assert problem(answer, 503).kind == "overloaded"
    assert answer.headers.get("Access-Control-Allow-Origin") == allowed


def test_ray_finds_the_middleware(tagger: ScriptedTagger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINTAG_ROOT_PATH", "/pintag")
    monkeypatch.setenv("PINTAG_BODY_TIMEOUT_S", "61")
    monkeypatch.setenv("PINTAG_ANSWER_TIMEOUT_S", "40")
    (middleware,) = ray_answers.middlewares()
    ray = Ray(JSONResponse({}))
    built: Any = middleware.cls(ray, *middleware.args, **middleware.kwargs)
    Client(built).post("/pintag/v1/tags")
    assert ray.scope["path"] == "/v1/tags"
    assert (middleware.kwargs["body_timeout_s"], middleware.kwargs["answer_timeout_s"]) == (61, 40)
