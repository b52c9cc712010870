"""The HTTP face over a tagger that does what the bytes say: each status, both bodies, the page."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from pintag.errors import ImageTooLargeError, NotAnImageError, UnsupportedFormatError
from pintag.labels import Tag
from serve import http, uploads
from serve.config import ClassifierConfig, ImageConfig
from serve.protocol import Model, ModelInfo, OverloadedError, Problem

TAGS = [Tag("houses", 0.75), Tag("art", 0.1875), Tag("food", 0.0625)]
MODEL = {"name": "pins", "version": "d9ad6c45d208"}
ANSWER = {
    "model": MODEL,
    "tags": [
        {"label": "houses", "confidence": 0.75},
        {"label": "art", "confidence": 0.1875},
        {"label": "food", "confidence": 0.0625},
    ],
}
INFO = ModelInfo(
    **MODEL,
    created="2026-01-02T00:00:00+00:00",
    labels=["art", "food", "houses"],
    backbone="mobilenet",
    alpha=0.25,
    input_size=160,
    preprocessing="pixels / 127.5 - 1",
    temperature=1.5,
    engine="tensorflow",
    synthetic=False,
    metrics={"test": {"accuracy": 0.9}},
)
# What the tagger makes of some bytes; of any others it makes TAGS.
OUTCOMES: dict[bytes, Exception] = {
    b"corrupt": NotAnImageError("the image is corrupt"),
    b"huge": ImageTooLargeError("10000x10000 pixels"),
    b"tiff": UnsupportedFormatError("TIFF is not accepted"),
    b"too many": OverloadedError("128 images are under way"),
    b"slow": TimeoutError("not done within 10 s, the deadline"),
    b"bug": RuntimeError("the secret of the house"),
}
IMAGES = ImageConfig(max_bytes=100, max_images=3, max_request_bytes=1000)


class CountingMetrics:
    """Metrics as plain counts."""

    def __init__(self) -> None:
        self.requests = 0
        self.errors: Counter[str] = Counter()

    @contextlib.contextmanager
    def timed_request(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.requests += 1

    def count_error(self, kind: str) -> None:
        self.errors[kind] += 1


class ScriptedTagger:
    """Does what `OUTCOMES` has for the bytes, and keeps them."""

    def __init__(self) -> None:
        self.config = ClassifierConfig(images=IMAGES)
        self.info = INFO
        self.model = Model(**MODEL)
        self.metrics = CountingMetrics()
        self.seen: list[bytes] = []

    async def tag(self, data: bytes, max_tags: int, min_confidence: float) -> list[Tag]:
        self.seen.append(data)
        # Away from the event loop once, so that the images of a request really interleave.
        await asyncio.sleep(0)
        if data in OUTCOMES:
            raise OUTCOMES[data]
        return [tag for tag in TAGS[:max_tags] if tag.confidence >= min_confidence]


@pytest.fixture
def tagger() -> ScriptedTagger:
    return ScriptedTagger()


@dataclass
class Client:
    """Requests to an application in this process."""

    app: FastAPI

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://pintag") as client:
                return await client.request(method, path, **options)

        return asyncio.run(request())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@pytest.fixture
def client(tagger: ScriptedTagger) -> Client:
    return Client(http.build(tagger))


def files(*contents: bytes, name: str = "image") -> list[tuple[str, tuple[str, bytes]]]:
    """Multipart files under one field name."""
    return [(name, (f"{number}.jpg", content)) for number, content in enumerate(contents)]


def problem(response: httpx.Response, status: int) -> Problem:
    """The problem that a response is, which must be one of this status."""
    assert (response.status_code, response.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), response.text
    found = Problem.model_validate_json(response.text)
    assert found.status == status
    assert found.detail
    return found


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


@pytest.mark.parametrize("bad", sorted(OUTCOMES), ids=lambda bad: bad.decode())
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


def test_a_multipart_body_is_known_by_its_type_in_any_case(client: Client) -> None:
    body, boundary = multipart(b"picture"), "Multipart/Form-Data; boundary=edge"
    response = client.post("/v1/tags", content=body, headers={"Content-Type": boundary})
    assert (response.status_code, response.json()) == (200, ANSWER)


def test_other_fields_are_passed_over(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags", files=files(b"picture"), data={"title": "my house"})
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert tagger.seen == [b"picture"]


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
    caplog: pytest.LogCaptureFixture,
    upload: dict[str, Any],
) -> None:
    # Ray Serve, once imported, keeps its logger from the root, where caplog listens.
    http.log.addHandler(caplog.handler)
    try:
        response = client.post("/v1/tags", **upload)
    finally:
        http.log.removeHandler(caplog.handler)
    assert "secret" not in response.text
    assert "internal" in response.text
    if "content" in upload:
        assert problem(response, 500).kind == "internal"
    assert tagger.metrics.errors == {"internal": 1}
    record = caplog.records[0]
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert record.exc_info[1] is OUTCOMES[b"bug"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "allow"),
    [
        ("GET", "/", 404, "not_found", None),
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


# Bodies


def multipart(*contents: bytes, end: bytes = b"--edge--\r\n") -> bytes:
    """A multipart body by hand, with the boundary `edge`."""
    head = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return b"".join(head + content + b"\r\n" for content in contents) + end


async def chunks(*contents: bytes) -> AsyncIterator[bytes]:
    """A body of unknown length."""
    for content in contents:
        yield content


def test_a_body_declared_too_long_is_refused_unread(tagger: ScriptedTagger) -> None:
    for kind, length in ((b"image/jpeg", b"101"), (b"multipart/form-data; boundary=edge", b"1001")):
        sent = drive(tagger, [], (b"content-length", length), (b"content-type", kind))
        assert sent[0]["status"] == 413
    assert tagger.seen == []
    assert tagger.metrics.errors == {"too_large": 2}


def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_long(
    tagger: ScriptedTagger,
) -> None:
    chunks: list[Message] = [
        {"type": "http.request", "body": b"x" * 60, "more_body": True} for _ in range(9)
    ]
    assert drive(tagger, chunks)[0]["status"] == 413
    # Two chunks are over the limit of 100 bytes; the others were not asked for.
    assert len(chunks) == 7
    assert tagger.seen == []


def test_a_length_declared_too_short_does_not_help(tagger: ScriptedTagger) -> None:
    chunks: list[Message] = [{"type": "http.request", "body": b"x" * 101}]
    assert drive(tagger, chunks, (b"content-length", b"10"))[0]["status"] == 413


@pytest.mark.parametrize("size", [100, 101])
def test_the_limits_are_the_largest_bodies_that_pass(client: Client, size: int) -> None:
    assert client.post("/v1/tags", content=b"x" * size).status_code == (413 if size > 100 else 200)
    body = multipart(b"x" * (1000 - len(multipart(b"")) + size - 100))
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    response = client.post("/v1/tags", content=body, headers=kind)
    assert response.status_code == (413 if size > 100 else 200)


def test_a_chunked_body_is_put_together(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags", content=chunks(b"pic", b"", b"ture"))
    assert "Content-Length" not in response.request.headers
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert tagger.seen == [b"picture"]


@pytest.mark.parametrize("body", [b"", chunks()], ids=["empty", "chunked"])
def test_an_empty_body_is_for_the_tagger_to_refuse(
    client: Client, tagger: ScriptedTagger, body: Any
) -> None:
    client.post("/v1/tags", content=body)
    assert tagger.seen == [b""]


@pytest.mark.parametrize(
    "upload",
    [
        {"files": files(b"picture", name="picture")},
        {"files": [("image", (None, b"text"))]},
        {"files": [*files(b"picture"), ("image", (None, b"text"))]},
        {"files": [("title", (None, b"text"))]},
    ],
    ids=["another field", "text", "file and text", "no file at all"],
)
def test_a_form_without_the_file_names_the_field(
    client: Client, tagger: ScriptedTagger, upload: dict[str, Any]
) -> None:
    found = problem(client.post("/v1/tags", **upload), 422)
    assert found.detail == "expected one or more files in the multipart field 'image'"
    assert tagger.seen == []
    assert tagger.metrics.errors == {"bad_parameter": 1}


def test_too_many_files_are_refused_with_their_limit(
    client: Client, tagger: ScriptedTagger
) -> None:
    found = problem(client.post("/v1/tags", files=files(*[b"x"] * 4)), 400)
    assert "Maximum number of files is 3" in found.detail
    assert tagger.seen == []


@pytest.mark.parametrize(
    ("kind", "body", "detail"),
    [
        ("multipart/form-data", multipart(b"one"), "boundary"),
        ("multipart/form-data; boundary=edge", b"\xff\xd8\xff picture", "Invalid multipart data"),
        ("multipart/form-data; boundary=edge", b"", "breaks off"),
        ("multipart/form-data; boundary=edge", multipart(b"one", end=b""), "breaks off"),
        ("multipart/form-data; boundary=edge", multipart(b"one", b"two")[:-12], "breaks off"),
        ("multipart/form-data; boundary=other", multipart(b"one"), "Invalid multipart data"),
        (
            "multipart/form-data; boundary=edge",
            b'--edge\r\nContent-Disposition: form-data; filename="a"\r\n\r\nx\r\n--edge--\r\n',
            '"name" must be provided',
        ),
    ],
    ids=["no boundary", "no parts", "empty", "no end", "cut", "wrong boundary", "no name"],
)
def test_a_malformed_multipart_body_is_refused_whole(
    client: Client, tagger: ScriptedTagger, kind: str, body: bytes, detail: str
) -> None:
    response = client.post("/v1/tags", content=body, headers={"Content-Type": kind})
    found = problem(response, 400)
    assert found.kind == "bad_request"
    assert detail in found.detail
    assert tagger.seen == []


# Connections


def drive(
    tagger: ScriptedTagger, receive: list[Message], *headers: tuple[bytes, bytes]
) -> list[Message]:
    """What the application sends for a POST whose messages come one by one, then never again."""
    sent: list[Message] = []

    async def next_message() -> Message:
        if not receive:
            await asyncio.Event().wait()
        return receive.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/tags",
        "query_string": b"",
        "headers": list(headers),
    }
    asyncio.run(http.build(tagger)(scope, next_message, send))
    return sent


@pytest.mark.parametrize("kind", [b"image/jpeg", b"multipart/form-data; boundary=edge"])
def test_a_client_that_leaves_mid_upload_is_no_error_of_the_server(
    tagger: ScriptedTagger, caplog: pytest.LogCaptureFixture, kind: bytes
) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": multipart(b"one", end=b""), "more_body": True},
        {"type": "http.disconnect"},
    ]
    http.log.addHandler(caplog.handler)
    try:
        drive(tagger, messages, (b"content-type", kind))
    finally:
        http.log.removeHandler(caplog.handler)
    assert tagger.seen == []
    assert tagger.metrics.errors == {}
    assert caplog.records == []


@pytest.mark.parametrize("kind", [b"image/jpeg", b"multipart/form-data; boundary=edge"])
def test_a_body_that_does_not_come_passes_a_deadline_of_its_own(
    tagger: ScriptedTagger, monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    monkeypatch.setattr(uploads, "SECONDS", 0.01)
    messages: list[Message] = [{"type": "http.request", "body": b"--edge", "more_body": True}]
    start, body = drive(tagger, messages, (b"content-type", kind))
    assert start["status"] == 504
    assert b"the body did not arrive within 0.01 s" in body["body"]
    assert tagger.metrics.errors == {"deadline": 1}


# The model and the page


def test_the_model_is_told(client: Client) -> None:
    response = client.get("/v1/model")
    assert (response.status_code, response.json()) == (200, INFO.model_dump())


def test_the_page_shows_the_openapi_document(client: Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "/openapi.json" in page.text


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
    assert set(openapi["paths"]) == {"/v1/tags", "/v1/model"}
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
    assert set(responses) == {"200", "400", "413", "415", "422", "503", "504"}
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
    assert model["application/json"]["example"] == INFO.model_dump()
    max_tags, min_confidence = openapi["paths"]["/v1/tags"]["post"]["parameters"]
    assert (max_tags["name"], max_tags["schema"]["minimum"]) == ("max_tags", 1)
    assert (min_confidence["name"], min_confidence["schema"]["maximum"]) == ("min_confidence", 1)


def test_neither_ray_nor_tensorflow_is_needed_to_speak_http() -> None:
    modules = "import sys, serve.config, serve.http, serve.protocol, serve.server, serve.uploads"
    loaded = "print({'ray', 'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{modules}; {loaded}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
