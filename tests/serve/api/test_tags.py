"""The HTTP API with a scripted tagger: answers, errors, parameters and the OpenAPI document."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from starlette.types import Message

from pintag.serve.api import tags
from pintag.serve.api.schemas import Problem
from tests.serve.conftest import (
    ANSWER,
    INFO,
    OUTCOMES,
    Client,
    ScriptedTagger,
    files,
    posted,
    problem,
)

# Answers


@pytest.mark.parametrize("kind", ["image/jpeg", "application/x-www-form-urlencoded", None])
def test_a_raw_body_is_tagged_whatever_its_content_type(
    client: Client, tagger: ScriptedTagger, kind: str | None
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = client.post("/v1/tags", content=b"picture", headers=headers)
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert response.headers["content-type"] == "application/json"
    assert tagger.seen == [b"picture"]
    assert (tagger.metrics.requests, tagger.metrics.errors) == (1, {})


def test_one_multipart_file_gets_the_same_answer_as_a_raw_body(client: Client) -> None:
    response = client.post("/v1/tags", files=files(b"picture"))
    assert (response.status_code, response.json()) == (200, ANSWER)


def test_several_files_get_a_list_of_answers_in_order(
    client: Client, tagger: ScriptedTagger
) -> None:
    response = client.post("/v1/tags", files=files(b"one", b"two", b"three"))
    assert (response.status_code, response.json()) == (200, [ANSWER] * 3)
    assert tagger.seen == [b"one", b"two", b"three"]
    assert tagger.metrics.requests == 1


FAILING = sorted(set(OUTCOMES) - {b"too many"})


@pytest.mark.parametrize("image", FAILING, ids=lambda image: image.decode())
def test_an_image_that_fails_does_not_affect_the_others(
    client: Client, tagger: ScriptedTagger, image: bytes
) -> None:
    response = client.post("/v1/tags", files=files(b"one", image, b"three"))
    assert response.status_code == 200
    first, second, third = response.json()
    assert first == third == ANSWER
    alone = problem(client.post("/v1/tags", content=image), second["status"])
    assert Problem.model_validate(second) == alone
    # Once in the request of three files, once in its own request.
    assert tagger.metrics.errors == {alone.kind: 2}


def test_a_request_of_which_every_file_misses_the_deadline_is_answered(
    client: Client, tagger: ScriptedTagger
) -> None:
    response = client.post("/v1/tags", files=files(b"slow", b"slow"))
    assert response.status_code == 200
    assert [entry["status"] for entry in response.json()] == [504, 504]
    assert tagger.metrics.errors == {"deadline": 2}


def test_an_overload_refuses_a_request_of_several_images_as_a_whole(client: Client) -> None:
    response = client.post("/v1/tags", files=files(b"one", b"too many"))
    assert problem(response, 503).kind == "overloaded"
    assert response.headers["Retry-After"] == "1"


# The fast path: one image as the raw body is answered without the framework, and identically


@pytest.fixture
def framework(tagger: ScriptedTagger) -> Client:
    """The application without the fast path."""
    built = tags.build(tagger)
    assert isinstance(built, tags.FastPath)
    return Client(built.app)


UNUSUAL_QUERIES = [
    "max_tags=007",
    "min_confidence=1.5",
    "max_tags=&&",
    "max_tags=1&",
    "max_tags=1min_confidence=0.1",
    "max_tags=1&max_tags=2",
    "min_confidence=0.1&max_tags=1",
    "&max_tags=1",
    "max%5Ftags=1",
    "max_tags=%31",
    "max_tags=+1",
    "max_tags=1.0",
    "max_tags=1_0",
    "max_tags=1;min_confidence=0.1",
    "max_tags=",
    "min_confidence=1e-1",
    "min_confidence=nan",
    "max_tags=0&min_confidence=2",
    "unknown=%ff",
]
QUERIES = ["", "max_tags=1", "min_confidence=0.1", "max_tags=2&min_confidence=0", "max_tags=0"]


@pytest.mark.parametrize("query", [*QUERIES, *UNUSUAL_QUERIES])
@pytest.mark.parametrize("image", [b"picture", *sorted(OUTCOMES)], ids=lambda image: image.decode())
def test_both_paths_give_the_same_answer(
    client: Client, framework: Client, tagger: ScriptedTagger, query: str, image: bytes
) -> None:
    fast = client.post(f"/v1/tags?{query}", content=image)
    fast_counts = dataclasses.replace(tagger.metrics)
    tagger.metrics.requests = tagger.metrics.images = 0
    tagger.metrics.errors = Counter()
    plain = framework.post(f"/v1/tags?{query}", content=image)
    assert (fast.status_code, fast.content) == (plain.status_code, plain.content)
    assert fast.headers == plain.headers
    assert fast_counts == tagger.metrics


def test_one_raw_image_never_reaches_the_framework(tagger: ScriptedTagger) -> None:
    async def never(*_: object) -> None:
        raise AssertionError("the framework was called")

    built = tags.build(tagger)
    assert isinstance(built, tags.FastPath)
    built.app = never  # type: ignore[assignment]
    for query in ("", "?max_tags=3", "?min_confidence=0.25", "?max_tags=3&min_confidence=0.25"):
        assert Client(built).post(f"/v1/tags{query}", content=b"picture").status_code == 200


def test_a_cancelled_request_stops_and_is_not_an_error(tagger: ScriptedTagger) -> None:
    """Ray cancels the application when a client disconnects."""

    async def cancel() -> None:
        body: Message = {"type": "http.request", "body": b"endless"}

        async def receive() -> Message:
            return body

        async def send(message: Message) -> None:
            raise AssertionError(f"the client has disconnected: {message}")

        request = asyncio.ensure_future(tags.build(tagger)(posted("/v1/tags"), receive, send))
        while not tagger.seen:
            await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(cancel())
    assert tagger.metrics.errors == {}


# Parameters


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ("max_tags=1", ["houses"]),
        ("max_tags=2", ["houses", "art"]),
        ("min_confidence=0.1", ["houses", "art"]),
        ("min_confidence=0.75&max_tags=3", ["houses"]),
        ("min_confidence=1", []),
        ("max_tags=1000", ["houses", "art", "food"]),
    ],
)
def test_the_query_selects_tags(client: Client, query: str, labels: list[str]) -> None:
    response = client.post(f"/v1/tags?{query}", content=b"picture")
    assert response.status_code == 200
    assert [tag["label"] for tag in response.json()["tags"]] == labels


@pytest.mark.parametrize(
    "query",
    [
        "max_tags=0",
        "max_tags=-1",
        "max_tags=1.5",
        "max_tags=many",
        "max_tags=",
        "max_tags=%ff",
        "min_confidence=-0.1",
        "min_confidence=1.1",
        "min_confidence=nan",
        "min_confidence=inf",
        "min_confidence=high",
        "unknown=yes",
        "max_tags=1&max_tags=2",
    ],
)
def test_an_invalid_parameter_is_named(client: Client, tagger: ScriptedTagger, query: str) -> None:
    refusal = problem(client.post(f"/v1/tags?{query}", content=b"picture"), 422)
    assert refusal.kind == "bad_parameter"
    assert refusal.detail.startswith(query.partition("=")[0])
    assert tagger.seen == []
    assert tagger.metrics.errors == {"bad_parameter": 1}


# Problems


@pytest.mark.parametrize(
    ("image", "status", "kind"),
    [
        (b"corrupt", 400, "not_an_image"),
        (b"huge", 413, "too_large"),
        (b"tiff", 415, "unsupported_format"),
        (b"too many", 503, "overloaded"),
        (b"slow", 504, "deadline"),
    ],
)
@pytest.mark.parametrize("form", ["raw", "multipart"])
def test_an_error_of_the_tagger_is_a_problem_with_its_message(
    client: Client, tagger: ScriptedTagger, image: bytes, status: int, kind: str, form: str
) -> None:
    if form == "raw":
        response = client.post("/v1/tags", content=image)
    else:
        response = client.post("/v1/tags", files=files(image))
    refusal = problem(response, status)
    assert (refusal.kind, refusal.detail) == (kind, str(OUTCOMES[image]))
    # Only an overload is likely to end soon.
    assert response.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert tagger.metrics.errors == {kind: 1}
    assert tagger.metrics.requests == 1


@pytest.mark.parametrize(
    "upload", [{"content": b"bug"}, {"files": files(b"bug", b"one")}], ids=["raw", "several"]
)
def test_an_unexpected_error_is_logged_and_its_message_is_not_sent(
    client: Client,
    tagger: ScriptedTagger,
    logged: list[logging.LogRecord],
    upload: dict[str, Any],
) -> None:
    response = client.post("/v1/tags", **upload)
    assert "secret" not in response.text
    assert "internal" in response.text
    if "content" in upload:
        assert problem(response, 500).kind == "internal"
    assert tagger.metrics.errors == {"internal": 1}
    (record,) = logged
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert record.exc_info[1] is OUTCOMES[b"bug"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "allow"),
    [
        ("GET", "/nothing", 404, "not_found", None),
        ("POST", "/v1/nothing", 404, "not_found", None),
        ("GET", "/v1/tags", 405, "method_not_allowed", "POST"),
        ("DELETE", "/v1/tags", 405, "method_not_allowed", "POST"),
        ("POST", "/v1/model", 405, "method_not_allowed", "GET"),
    ],
)
def test_a_wrong_path_or_method_is_a_problem(
    client: Client,
    tagger: ScriptedTagger,
    method: str,
    path: str,
    status: int,
    kind: str,
    allow: str | None,
) -> None:
    response = client.request(method, path)
    answer = problem(response, status)
    assert answer.kind == kind
    if allow:
        assert answer.detail == f"{method} is not a method of this path; use {allow}"
    assert response.headers.get("Allow") == allow
    assert tagger.metrics.errors == {kind: 1}


# The model and the document


def test_the_model_endpoint_describes_the_model(client: Client) -> None:
    response = client.get("/v1/model")
    assert (response.status_code, response.json()) == (200, INFO.model_dump())


def test_without_an_explainer_the_api_does_not_mention_explanations(tagger: ScriptedTagger) -> None:
    tagger.info = INFO.model_copy(update={"explained": False})
    client = Client(tags.build(tagger))
    assert client.get("/v1/model").json()["explained"] is False
    assert "/v1/explanations" not in client.get("/openapi.json").json()["paths"]
    refusal = problem(client.post("/v1/explanations", content=b"picture"), 404)
    assert refusal.detail == "there is nothing at /v1/explanations; /docs lists the API's paths"


def test_the_http_modules_import_neither_ray_nor_tensorflow() -> None:
    api = (
        "error_handlers",
        "explanations",
        "pages",
        "ray_answers",
        "request_rules",
        "tags",
        "uploads",
    )
    names = ("config", "errors", "lifecycle.server", *(f"api.{name}" for name in api))
    modules = f"import sys, {', '.join(f'pintag.serve.{name}' for name in names)}"
    loaded = "print({'ray', 'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{modules}; {loaded}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
