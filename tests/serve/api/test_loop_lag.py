"""Nothing holds up the event loop between a connection and the tagger or explainer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message

from pintag.core.errors import NotAnImageError
from pintag.explain.request import ExplanationRequest
from pintag.explain.schema import ExplanationAnswer
from pintag.serve.api import explanations, request_rules, tags
from pintag.serve.auth import api_keys, key_file
from pintag.serve.auth.key_file import ApiKeyFile
from pintag.serve.config import ApiConfig
from pintag.serve.deployment_config import ClassifierConfig, ExplainerConfig
from tests.serve.auth.test_api_keys import MINE, YOURS, entry
from tests.serve.conftest import (
    EXPLAIN_PATH,
    EXPLANATION,
    TAGS,
    ScriptedExplainer,
    ScriptedTagger,
    answer_json,
)
from tests.serve.loop_lag import LIMIT_S, Measure, longest

__all__ = ["longest"]

pytestmark = pytest.mark.ray

# What a server reads from a connection at a time.
PART_BYTES = 2**16
FORM = b"multipart/form-data; boundary=edge"


class QuickTagger(ScriptedTagger):
    """Answers without looking at the images."""

    def __init__(self) -> None:
        super().__init__()
        self.config = ClassifierConfig()

    async def tag(
        self, images: Sequence[bytes], max_tags: int, min_confidence: float
    ) -> list[bytes | Exception]:
        return [answer_json(TAGS)] * len(images)


class ManyTagsTagger(QuickTagger):
    """Answers with every label of a model that has many."""

    async def tag(
        self, images: Sequence[bytes], max_tags: int, min_confidence: float
    ) -> list[bytes | Exception]:
        return [answer_json(TAGS * 300)] * len(images)


class RefusingTagger(QuickTagger):
    """Refuses all images."""

    async def tag(
        self, images: Sequence[bytes], max_tags: int, min_confidence: float
    ) -> list[bytes | Exception]:
        return [NotAnImageError("the image is corrupt")] * len(images)


class QuickExplainer(ScriptedExplainer):
    """Answers without looking at the image."""

    def __init__(self) -> None:
        super().__init__()
        self.config = ExplainerConfig()

    async def explain(
        self, data: bytes, digest: bytes, request: ExplanationRequest
    ) -> ExplanationAnswer:
        return EXPLANATION


def classifier() -> ASGIApp:
    return request_rules.wrap(tags.build(QuickTagger()), ApiConfig())


def explainer() -> ASGIApp:
    return request_rules.wrap(explanations.build(QuickExplainer()), ApiConfig())


async def post(
    app: ASGIApp,
    path: str,
    body: bytes,
    headers: dict[bytes, bytes],
    method: str = "POST",
    query: bytes = b"",
) -> int:
    """The status of the answer; the body arrives in parts, as from a connection."""
    sent: list[Message] = []
    at = 0

    async def receive() -> Message:
        nonlocal at
        await (asyncio.sleep(0) if at < len(body) else asyncio.Event().wait())
        part = body[at : at + PART_BYTES]
        at += len(part)
        return {"type": "http.request", "body": part, "more_body": at < len(body)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": query,
        "headers": list(headers.items()), "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    await app(scope, receive, send)
    status: int = sent[0]["status"]
    return status


def form(
    count: int, content: bytes, disposition: bytes = b'name="image"', more: bytes = b""
) -> bytes:
    head = b"--edge\r\nContent-Disposition: form-data; " + disposition + b"\r\n" + more + b"\r\n"
    return (head + content + b"\r\n") * count + b"--edge--\r\n"


# The status of the answer, and the body.
FORMS: dict[str, tuple[int, Callable[[], bytes]]] = {
    "256 parts of 30 headers": (200, lambda: form(256, b"x", more=b"a:b\r\n" * 30)),
    "256 small parts": (200, lambda: form(256, b"x")),
    "64 fields": (422, lambda: form(64, b"x", b'name="a"')),
    "one part of long headers": (
        200, lambda: form(1, b"x", b'name="image"' + b";" * 8000, b"a:" + b"b" * 8000 + b"\r\n"),
    ),
    "eight long dispositions": (200, lambda: form(8, b"x", b'name="image"' + b";" * 8000)),
    "line ends": (200, lambda: form(1, b"\r\n" * 130_000)),
    "almost boundaries": (200, lambda: form(1, b"\r\n--edg" * 35_000)),
    "60 MiB": (200, lambda: form(4, bytes(15 * 2**20))),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_no_form_holds_up_the_loop(name: str, longest: Measure) -> None:
    status, make = FORMS[name]
    app, body = classifier(), make()

    async def tag() -> None:
        assert await post(app, "/v1/tags", body, {b"content-type": FORM}) == status

    assert longest(tag) < LIMIT_S


def test_an_image_of_20_mib_does_not_hold_up_the_loop(longest: Measure) -> None:
    app, body = classifier(), bytes(20 * 2**20)

    async def tag() -> None:
        assert await post(app, "/v1/tags", body, {b"content-type": b"image/jpeg"}) == 200

    assert longest(tag) < LIMIT_S


def test_a_batch_does_not_hold_up_the_loop(longest: Measure) -> None:
    app, body = classifier(), (b"\0\4\0\0" + bytes(2**18)) * 240

    async def tag() -> None:
        assert await post(app, "/v1/tags:batch", body, {}) == 200

    assert longest(tag) < LIMIT_S


def test_256_answers_of_900_tags_do_not_hold_up_the_loop(longest: Measure) -> None:
    app, body = request_rules.wrap(tags.build(ManyTagsTagger()), ApiConfig()), b"\0\0\0\1x" * 256

    async def tag() -> None:
        assert await post(app, "/v1/tags:batch", body, {}) == 200

    assert longest(tag) < LIMIT_S


@pytest.mark.parametrize(
    "content",
    [b"%" * 4096, b"%41" * 1365, b"A" * 4096, b"-" * 4096, b"{" + b" " * 4095, b"." * 4096],
    ids=["percent", "escapes", "letters", "hyphens", "JSON", "dots"],
)
def test_hints_for_256_files_that_are_no_images_do_not_hold_up_the_loop(
    content: bytes, longest: Measure
) -> None:
    app = request_rules.wrap(tags.build(RefusingTagger()), ApiConfig())
    body = (len(content).to_bytes(4) + content) * 256

    async def tag() -> None:
        assert await post(app, "/v1/tags:batch", body, {}) == 200

    assert longest(tag) < LIMIT_S


@pytest.mark.parametrize(
    "accept",
    [b"application/json", b"image/png", b"*/*," + b"a/b," * 1990],
    ids=["JSON", "PNG", "long list"],
)
def test_an_explanation_of_20_mib_does_not_hold_up_the_loop(
    accept: bytes, longest: Measure
) -> None:
    app, body = explainer(), bytes(20 * 2**20)

    async def explain() -> None:
        assert await post(app, EXPLAIN_PATH, body, {b"accept": accept}) == 200

    assert longest(explain) < LIMIT_S


# A query, and headers; the longest of each that is read, and one that is refused.
QUERIES = {"longest": b"a&" * 4080, "escapes": b"%41" * 2700, "refused": b"a&" * 30_000}
HEADERS = {
    "of a type": (b"content-type", FORM + b";" * 8000),
    "of a longer type": (b"content-type", FORM + b";" * 200_000),
    "of commas": (b"if-none-match", b"," * 8000),
    "of more commas": (b"if-none-match", b"," * 200_000),
    "of ETags": (b"if-none-match", b'"a",' * 2000),
    "of more ETags": (b"if-none-match", b'"a",' * 50_000),
    "of encodings": (b"content-encoding", b"a," * 4000),
    "of more encodings": (b"content-encoding", b"a," * 100_000),
    "of media types": (b"accept", b"a/b," * 50_000),
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/tags", EXPLAIN_PATH, "/v1/model", "/"])
@pytest.mark.parametrize("name", QUERIES)
def test_no_query_holds_up_the_loop(path: str, name: str, longest: Measure) -> None:
    app = explainer() if path == EXPLAIN_PATH else classifier()
    method = "POST" if path in ("/v1/tags", EXPLAIN_PATH) else "GET"

    async def ask() -> None:
        status = await post(app, path, b"x", {}, method, QUERIES[name])
        assert (status == 414) == (name == "refused")

    assert longest(ask) < LIMIT_S


@pytest.mark.parametrize("path", ["/v1/tags", EXPLAIN_PATH, "/docs"])
@pytest.mark.parametrize("name", HEADERS)
def test_no_header_holds_up_the_loop(path: str, name: str, longest: Measure) -> None:
    app = explainer() if path == EXPLAIN_PATH else classifier()
    headers, method = dict([HEADERS[name]]), "GET" if path == "/docs" else "POST"

    async def ask() -> None:
        status = await post(app, path, form(1, b"x"), headers, method)
        assert (status == 431) == (len(HEADERS[name][1]) > 100_000)

    assert longest(ask) < LIMIT_S


def test_no_preflight_holds_up_the_loop(longest: Measure) -> None:
    app = request_rules.wrap(
        tags.build(QuickTagger()), ApiConfig(cors_origins=["https://shop.example"])
    )
    headers = {
        b"origin": b"https://shop.example",
        b"access-control-request-method": b"POST",
        b"access-control-request-headers": b"a," * 4000,
    }

    async def ask() -> None:
        assert await post(app, "/v1/tags", b"", headers, "OPTIONS") == 400

    assert longest(ask) < LIMIT_S


def test_a_changed_file_of_1000_keys_does_not_hold_up_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: Measure
) -> None:
    monkeypatch.setattr(key_file, "_CHECK_INTERVAL_S", 0.01)
    path = tmp_path / "keys.yaml"
    others = [entry(f"client-{number}", f"key-{number}") for number in range(999)]
    contents = [api_keys.dump([*others, entry("last", key)]) for key in (MINE, YOURS)]
    path.write_text(contents[0])
    keys = ApiKeyFile(path)
    keys.watch()

    async def change() -> None:
        for key, content in zip((YOURS, MINE), reversed(contents), strict=True):
            await asyncio.to_thread(path.write_text, content)
            while not keys.find(key):
                await asyncio.sleep(0.001)

    assert longest(change) < LIMIT_S
