"""A tagger that does what the bytes say, and ways to ask the HTTP face in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from logging.handlers import BufferingHandler
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from pintag.errors import ImageTooLargeError, NotAnImageError, UnsupportedFormatError
from pintag.labels import Tag
from serve import http
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


def multipart(*contents: bytes, end: bytes = b"--edge--\r\n") -> bytes:
    """A multipart body by hand, with the boundary `edge`."""
    head = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return b"".join(head + content + b"\r\n" for content in contents) + end


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


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """What the HTTP face logs; not by caplog, from whose root logger Ray Serve keeps its own."""
    handler = BufferingHandler(100)
    http.log.addHandler(handler)
    yield handler.buffer
    http.log.removeHandler(handler)
