"""The HTTP face over a tagger that does what the bytes say: each status, and the document."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message

from serve import http
from serve.protocol import Problem
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
def test_a_raw_body_is_tagged_whatever_it_calls_itself(
    client: Client, tagger: ScriptedTagger, kind: str | None
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = client.post("/v1/tags", content=b"picture", headers=headers)
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert response.headers["content-type"] == "application/json"
    assert tagger.seen == [b"picture"]
    assert (tagger.metrics.requests, tagger.metrics.errors) == (1, {})


def test_one_multipart_file_is_answered_as_a_raw_body_is(client: Client) -> None:
    response = client.post("/v1/tags", files=files(b"picture"))
    assert (response.status_code, response.json()) == (200, ANSWER)


def test_several_files_get_one_answer_each_in_order(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags", files=files(b"one", b"two", b"three"))
    assert (response.status_code, response.json()) == (200, [ANSWER] * 3)
    assert tagger.seen == [b"one", b"two", b"three"]
    assert tagger.metrics.requests == 1


BAD = sorted(set(OUTCOMES) - {b"too many"})


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.decode())
def test_a_bad_file_harms_no_neighbour(client: Client, tagger: ScriptedTagger, bad: bytes) -> None:
    response = client.post("/v1/tags", files=files(b"one", bad, b"three"))
    assert response.status_code == 200
    first, second, third = response.json()
    assert first == third == ANSWER
    alone = problem(client.post("/v1/tags", content=bad), second["status"])
    assert Problem.model_validate(second) == alone
    # Once for the file, once for the request of its own.
    assert tagger.metrics.errors == {alone.kind: 2}


def test_every_file_may_pass_the_deadline(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags", files=files(b"slow", b"slow"))
    assert response.status_code == 200
    assert [entry["status"] for entry in response.json()] == [504, 504]
    assert tagger.metrics.errors == {"deadline": 2}


def test_a_request_of_many_images_is_refused_whole_where_there_is_no_room(client: Client) -> None:
    response = client.post("/v1/tags", files=files(b"one", b"too many"))
    assert problem(response, 503).kind == "overloaded"
    assert response.headers["Retry-After"] == "1"


# The quick path: an image as the raw body goes past the framework, and is answered as by it


@pytest.fixture
def framework(tagger: ScriptedTagger) -> Client:
    """The framework alone."""
    built = http.build(tagger)
    assert isinstance(built, http.QuickPath)
    return Client(built.app)


ODD = [
    "max_tags=007",
    "min_confidence=1.5",
    "max_tags=&&",
    "max_tags=1&",
    "max_tags=1min_confidence=0.1",
    "max_tags=1&max_tags=2",
    "min_confidence=0.1&max_tags=1",
    "&max_tags=1",
]
QUERIES = ["", "max_tags=1", "min_confidence=0.1", "max_tags=2&min_confidence=0", "max_tags=0"]


@pytest.mark.parametrize("query", [*QUERIES, *ODD])
@pytest.mark.parametrize("image", [b"picture", *sorted(OUTCOMES)], ids=lambda image: image.decode())
def test_both_paths_say_the_same(
    client: Client, framework: Client, tagger: ScriptedTagger, query: str, image: bytes
) -> None:
    quick = client.post(f"/v1/tags?{query}", content=image)
    counted, tagger.metrics.errors = tagger.metrics.errors, Counter()
    plain = framework.post(f"/v1/tags?{query}", content=image)
    assert (quick.status_code, quick.content) == (plain.status_code, plain.content)
    assert quick.headers == plain.headers
    assert counted == tagger.metrics.errors


def test_what_programs_send_goes_past_the_framework(tagger: ScriptedTagger) -> None:
    async def never(*_: object) -> None:
        raise AssertionError("the framework was asked")

    built = http.build(tagger)
    assert isinstance(built, http.QuickPath)
    built.app = never  # type: ignore[assignment]
    for query in ("", "?max_tags=3", "?min_confidence=0.25", "?max_tags=3&min_confidence=0.25"):
        assert Client(built).post(f"/v1/tags{query}", content=b"picture").status_code == 200


def test_a_client_that_leaves_is_waited_for_no_longer(tagger: ScriptedTagger) -> None:
    """Ray cancels the application then."""

    async def leave() -> None:
        body: Message = {"type": "http.request", "body": b"endless"}

        async def receive() -> Message:
            return body

        async def send(message: Message) -> None:
            raise AssertionError(f"nobody is there for {message}")

        asking = asyncio.ensure_future(http.build(tagger)(posted("/v1/tags"), receive, send))
        while not tagger.seen:
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(leave())
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
        ("max_tags=1000&unknown=yes", ["houses", "art", "food"]),
    ],
)
def test_the_query_chooses_among_the_tags(client: Client, query: str, labels: list[str]) -> None:
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
    ],
)
def test_a_bad_parameter_is_named(client: Client, tagger: ScriptedTagger, query: str) -> None:
    found = problem(client.post(f"/v1/tags?{query}", content=b"picture"), 422)
    assert found.kind == "bad_parameter"
    assert found.detail.startswith(query.partition("=")[0])
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
def test_what_the_tagger_refuses_is_a_problem_in_its_words(
    client: Client, tagger: ScriptedTagger, image: bytes, status: int, kind: str, form: str
) -> None:
    if form == "raw":
        response = client.post("/v1/tags", content=image)
    else:
        response = client.post("/v1/tags", files=files(image))
    found = problem(response, status)
    assert (found.kind, found.detail) == (kind, str(OUTCOMES[image]))
    # Only a full queue is worth trying again soon.
    assert response.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert tagger.metrics.errors == {kind: 1}
    assert tagger.metrics.requests == 1


@pytest.mark.parametrize(
    "upload", [{"content": b"bug"}, {"files": files(b"bug", b"one")}], ids=["raw", "several"]
)
def test_an_error_of_the_server_is_logged_and_not_told(
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
    assert problem(response, status).kind == kind
    assert response.headers.get("Allow") == allow
    assert tagger.metrics.errors == {kind: 1}


# The model and the document


def test_the_model_is_told(client: Client) -> None:
    response = client.get("/v1/model")
    assert (response.status_code, response.json()) == (200, INFO.model_dump())


def test_without_an_explainer_none_is_told_of(tagger: ScriptedTagger) -> None:
    tagger.info = INFO.model_copy(update={"explained": False})
    alone = Client(http.build(tagger))
    assert alone.get("/v1/model").json()["explained"] is False
    assert "/v1/explanations" not in alone.get("/openapi.json").json()["paths"]
    found = problem(alone.post("/v1/explanations", content=b"picture"), 404)
    assert found.detail == "there is nothing at /v1/explanations; /docs has what there is"


@pytest.fixture
def openapi(client: Client) -> Any:
    return client.get("/openapi.json").json()


def references(node: Any) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)


def test_the_openapi_document_is_whole(openapi: Any) -> None:
    assert openapi["openapi"].startswith("3.1")
    assert set(openapi["paths"]) == {
        "/v1/tags",
        "/v1/tags:batch",
        "/v1/model",
        "/v1/explanations",
    }
    found = set(references(openapi))
    assert "#/components/schemas/Problem" in found
    for reference in found:
        node = openapi
        for key in reference.removeprefix("#/").split("/"):
            node = node[key]


def test_the_openapi_document_shows_both_bodies(openapi: Any) -> None:
    body = openapi["paths"]["/v1/tags"]["post"]["requestBody"]
    assert body["required"]
    form = body["content"].pop("multipart/form-data")["schema"]
    assert form["required"] == ["image"]
    assert form["properties"]["image"]["items"] == {"type": "string", "format": "binary"}
    assert set(body["content"]) == {
        "image/jpeg",
        "image/png",
        "image/webp",
        "image/gif",
        "image/bmp",
        "application/octet-stream",
    }


def test_the_openapi_document_shows_every_problem_by_its_own_example(openapi: Any) -> None:
    responses = openapi["paths"]["/v1/tags"]["post"]["responses"]
    assert set(responses) == {
        *["200", "400", "401", "408", "413", "415", "422", "429", "503", "504"]
    }
    for status in set(responses) - {"200"}:
        (kind, content), *others = responses[status]["content"].items()
        assert (kind, others) == ("application/problem+json", [])
        assert Problem.model_validate(content["example"]).status == int(status)


def test_the_openapi_document_has_examples_of_answers_and_limits_of_parameters(
    openapi: Any,
) -> None:
    schemas = openapi["components"]["schemas"]
    for name in ("Model", "TagItem", "Problem"):
        shown = schemas[name]["properties"].values()
        assert all("examples" in field or "default" in field for field in shown), name
    model = openapi["paths"]["/v1/model"]["get"]["responses"]["200"]["content"]
    assert model["application/json"]["example"] == INFO.model_dump(exclude_none=True)
    max_tags, min_confidence = openapi["paths"]["/v1/tags"]["post"]["parameters"]
    assert (max_tags["name"], max_tags["schema"]["minimum"]) == ("max_tags", 1)
    assert (min_confidence["name"], min_confidence["schema"]["maximum"]) == ("min_confidence", 1)


def test_neither_ray_nor_tensorflow_is_needed_to_speak_http() -> None:
    names = ("config", "explanations", "http", "pages", "problems", "protocol", "server", "uploads")
    modules = f"import sys, {', '.join(f'serve.{name}' for name in names)}"
    loaded = "print({'ray', 'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{modules}; {loaded}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
