"""A scripted tagger and a scripted explainer, and helpers for requests to their HTTP APIs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from logging.handlers import BufferingHandler
from typing import Any

import httpx
import orjson
import pytest
from starlette.types import ASGIApp, Message

from pintag.core.errors import (
    ExplainError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedFormatError,
)
from pintag.data.labels import Tag
from pintag.explain.request import ExplanationRequest
from pintag.explain.schema import (
    ExplanationAnswer,
    SecondsItem,
    SegmentationItem,
    SurrogateItem,
    WeightItem,
)
from pintag.models.identity import Model
from pintag.serve.api import explanations, schemas, tags
from pintag.serve.api.schemas import Problem
from pintag.serve.deployment_config import (
    ClassifierConfig,
    ExplainerConfig,
    ImageConfig,
    OneImageConfig,
)
from pintag.serve.errors import (
    OverloadedError,
    ParameterError,
)
from pintag.serve.model_info import ModelInfo
from tests.conftest import Server

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
    precision="fp32",
    synthetic=False,
    metrics={"test": {"accuracy": 0.9}},
)
# Images that the scripted tagger fails for, with the error. Any other image gets TAGS.
OUTCOMES: dict[bytes, Exception] = {
    b"corrupt": NotAnImageError("the image is corrupt"),
    b"huge": ImageTooLargeError("10000x10000 pixels"),
    b"tiff": UnsupportedFormatError("TIFF is not accepted"),
    b"too many": OverloadedError("128 images are in flight"),
    b"slow": TimeoutError("not done within 10 s, the deadline"),
    b"bug": RuntimeError("a secret of the server"),
}
IMAGES = ImageConfig(max_bytes=100, max_images=3, max_request_bytes=1000, body_timeout_s=0.05)

EXPLANATION = ExplanationAnswer(
    model=Model(**MODEL),
    label="houses",
    confidence=0.75,
    mode="stable",
    outcome="budget",
    level=0.95,
    claimed=1,
    num_features=5,
    positive_only=False,
    samples=449,
    surrogate=SurrogateItem(score=0.9, intercept=-3.5, prediction=0.76, scale="log-odds"),
    segmentation=SegmentationItem(algorithm="slic", width=56, height=56, count=2, map="iVBORw0="),
    weights=[
        WeightItem(segment=1, weight=1.5, low=1.0, high=2.0),
        WeightItem(segment=0, weight=-0.25, low=None, high=None),
    ],
    seconds=SecondsItem(segmentation=0.125, sampling=1.5, fit=0.25, total=1.875),
)
PICTURE = b"\x89PNG of houses"
# Images that the scripted explainer fails for, with the error. Any other gets EXPLANATION.
REFUSALS: dict[bytes, Exception] = {
    **OUTCOMES,
    b"no such label": ParameterError("label: there is no 'sea'; there are art, food, houses"),
    b"too fine": ExplainError("300 superpixels; stable mode supports at most 256"),
    b"too many": OverloadedError("8 explanations are in progress", retry_after=7),
}
EXPLAIN_PATH = "/v1/explanations"
JSON, PNG = "application/json", "image/png"
CUT_SHORT = EXPLANATION.model_copy(update={"outcome": "deadline", "samples": 64})


@dataclass
class CountingMetrics:
    """Metrics as plain counts."""

    requests: int = 0
    images: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    by_key: Counter[tuple[str, str]] = field(default_factory=Counter)

    @contextlib.contextmanager
    def timed_request(self, images: int = 1) -> Iterator[None]:
        try:
            yield
        finally:
            self.requests += 1
            self.images += images

    def count_error(self, kind: str) -> None:
        self.errors[kind] += 1

    def count_request(self, key: str, outcome: str) -> None:
        self.by_key[key, outcome] += 1


def answer_json(tags: list[Tag]) -> bytes:
    """The answer with these tags, as a tagger returns it."""
    return orjson.dumps(schemas.answer(MODEL, tags))


class ScriptedTagger:
    """Answers as `OUTCOMES` defines, and records the images. `endless` is never answered."""

    def __init__(self) -> None:
        self.config = ClassifierConfig(images=IMAGES)
        self.info = INFO
        self.metrics = CountingMetrics()
        self.seen: list[bytes] = []

    async def tag(
        self, images: Sequence[bytes], max_tags: int, min_confidence: float
    ) -> list[bytes | Exception]:
        self.seen += images
        await (asyncio.Event().wait() if b"endless" in images else asyncio.sleep(0))
        if b"too many" in images:
            raise OUTCOMES[b"too many"]
        tags = [tag for tag in TAGS[:max_tags] if tag.confidence >= min_confidence]
        return [OUTCOMES.get(data, answer_json(tags)) for data in images]


class ScriptedExplainer:
    """Answers as `REFUSALS` defines, and records the requests.

    `cut short` gets an answer that the deadline ended early; `endless` is never answered.
    """

    def __init__(self) -> None:
        self.config = ExplainerConfig(
            images=OneImageConfig(max_bytes=100, max_request_bytes=1000, body_timeout_s=0.05)
        )
        self.model = Model(**MODEL)
        self.metrics = CountingMetrics()
        self.requests: list[tuple[bytes, ExplanationRequest]] = []
        self.drawn: list[tuple[bytes, ExplanationRequest]] = []
        self.running = 0

    async def explain(
        self, data: bytes, digest: bytes, request: ExplanationRequest
    ) -> ExplanationAnswer:
        assert digest == hashlib.sha256(data).digest()
        self.requests.append((data, request))
        self.running += 1
        try:
            await (asyncio.Event().wait() if data == b"endless" else asyncio.sleep(0))
        finally:
            self.running -= 1
        if data in REFUSALS:
            raise REFUSALS[data]
        return CUT_SHORT if data == b"cut short" else EXPLANATION

    async def draw(
        self, data: bytes, digest: bytes, request: ExplanationRequest
    ) -> tuple[ExplanationAnswer, bytes]:
        self.drawn.append((data, request))
        return await self.explain(data, digest, request), PICTURE


@pytest.fixture
def tagger() -> ScriptedTagger:
    return ScriptedTagger()


@dataclass
class Client:
    """Requests to an application in this process."""

    app: ASGIApp

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://pintag") as client:
                return await client.request(method, path, **options)

        return asyncio.run(request())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@pytest.fixture
def client(tagger: ScriptedTagger) -> Client:
    """Sends requests to the classifier's API."""
    return Client(tags.build(tagger))


@pytest.fixture
def explainer() -> ScriptedExplainer:
    return ScriptedExplainer()


@pytest.fixture
def explain_client(explainer: ScriptedExplainer) -> Client:
    """Sends requests to the explainer's API."""
    return Client(explanations.build(explainer))


def files(*contents: bytes, name: str = "image") -> list[tuple[str, tuple[str, bytes]]]:
    """Multipart files under one field name."""
    return [(name, (f"{number}.jpg", content)) for number, content in enumerate(contents)]


def problem(response: httpx.Response, status: int) -> Problem:
    """The problem in a response. Asserts the status and the media type."""
    assert (response.status_code, response.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), response.text
    parsed = Problem.model_validate_json(response.text)
    assert parsed.status == status
    assert parsed.detail
    return parsed


def multipart(*contents: bytes, end: bytes = b"--edge--\r\n") -> bytes:
    """A multipart body with the boundary `edge`."""
    head = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return b"".join(head + content + b"\r\n" for content in contents) + end


def posted(path: str, *headers: tuple[bytes, bytes], root_path: str = "") -> dict[str, Any]:
    """The ASGI scope of a POST."""
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "root_path": root_path,
        "query_string": b"",
        "headers": list(headers),
    }


def body_of(content: bytes) -> Message:
    """The ASGI message that has the whole body of a request."""
    return {"type": "http.request", "body": content, "more_body": False}


DISCONNECT: Message = {"type": "http.disconnect"}


def drive(
    app: ASGIApp,
    receive: list[Message],
    *headers: tuple[bytes, bytes],
    path: str = "/v1/tags",
    root_path: str = "",
) -> list[Message]:
    """The messages that an application sends for a POST. `receive` blocks after its messages."""
    sent: list[Message] = []

    async def next_message() -> Message:
        if not receive:
            await asyncio.Event().wait()
        return receive.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(posted(path, *headers, root_path=root_path), next_message, send))
    return sent


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """The log records of the HTTP API. caplog has none: Ray Serve's logger does not propagate."""
    handler = BufferingHandler(100)
    tags.log.addHandler(handler)
    yield handler.buffer
    tags.log.removeHandler(handler)


def counts(server: Server, name: str, label: str, application: str) -> dict[str, float]:
    """A metric of an application as Prometheus reads it, summed for each value of a label."""
    text = httpx.get(server.metrics_url, timeout=30).text
    totals: dict[str, float] = defaultdict(float)
    for line in re.findall(rf"^{name}{{.*$", text, re.MULTILINE):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        if labels["application"] == application:
            assert labels["deployment"] == application.capitalize()
            assert labels["replica"]
            totals[labels[label]] += float(line.rpartition(" ")[2])
    return totals
