"""The HTTP face of the classifier: it translates, and leaves the work to a `Tagger`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any, Protocol

import orjson
from fastapi import FastAPI, Query, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from pintag import __version__
from serve import explanations, openapi, pages, problems, protocol, uploads
from serve.config import ClassifierConfig
from serve.problems import log
from serve.protocol import Answer, ModelInfo, Problem

PATH = "/v1/tags"
MAX_TAGS = 5
# Both parameters, in this order, as plain numbers: what programs send.
_PARAMETERS = re.compile(
    rb"(?:max_tags=([0-9]{1,9})(?:&(?=m)|$))?(?:min_confidence=([0-9]{1,9}(?:\.[0-9]{1,20})?))?"
)


class Metrics(Protocol):
    """What is counted and timed here."""

    def timed_request(self) -> AbstractContextManager[None]: ...

    def count_error(self, kind: str) -> None: ...


class Tagger(Protocol):
    """Who does the work. Cancelled, it stops."""

    config: ClassifierConfig

    @property
    def info(self) -> ModelInfo: ...

    @property
    def metrics(self) -> Metrics: ...

    async def tag(
        self, images: Sequence[bytes], max_tags: int, min_confidence: float
    ) -> list[dict[str, Any] | Exception]: ...


MaxTags = Annotated[int, Query(ge=1, description="at most so many tags")]
MinConfidence = Annotated[float, Query(ge=0, le=1, description="no tag below this confidence")]


def build(tagger: Tagger) -> QuickPath:
    """The ASGI application over a tagger."""
    app = FastAPI(
        title="pintag",
        version=__version__,
        summary="Tags images with their categories the moment they are uploaded.",
        # FastAPI's own pages load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    problems.add(app, tagger.metrics)
    answers = _Answers(tagger)
    _add_tags(app, tagger, answers)

    @app.get(
        "/v1/model",
        response_model=ModelInfo,
        responses={200: {"content": {"application/json": {"example": tagger.info.model_dump()}}}},
        summary="The model that is served",
    )
    async def model() -> ModelInfo:
        return tagger.info

    pages.add(app)
    if tagger.info.explained:
        _describe(app)
    return QuickPath(app, tagger, answers)


def _add_tags(app: FastAPI, tagger: Tagger, answers: _Answers) -> None:
    @app.post(
        PATH,
        response_model=Answer | list[Answer | Problem],
        responses=openapi.PROBLEMS,
        openapi_extra={"requestBody": openapi.IMAGE_BODY},
        summary="Tag an image",
    )
    async def tags(
        request: Request, max_tags: MaxTags = MAX_TAGS, min_confidence: MinConfidence = 0.0
    ) -> Response:
        """Send the image as the raw body, or as the multipart field `image`.

        Several `image` fields make the answer a list: one entry for each, in order, a problem in
        the place of an image that could not be tagged.
        """
        with tagger.metrics.timed_request():
            images = await uploads.read(request, tagger.config.images)
            if len(images) == 1:
                return await answers.one(images[0], max_tags, min_confidence)
            return await answers.all(images, max_tags, min_confidence)

    @app.post(
        f"{PATH}:batch",
        response_model=list[Answer | Problem],
        responses=openapi.PROBLEMS,
        openapi_extra={"requestBody": openapi.BATCH_BODY},
        summary="Tag many images",
    )
    async def batch(
        request: Request, max_tags: MaxTags = MAX_TAGS, min_confidence: MinConfidence = 0.0
    ) -> Response:
        """Send images one after the other, each after its length as 4 bytes, big-endian.

        The answer is a list: one entry for each image, in order, a problem in the place of one
        that could not be tagged.
        """
        with tagger.metrics.timed_request():
            images = await uploads.read_batch(request, tagger.config.images)
            return await answers.all(images, max_tags, min_confidence)


class _Answers:
    """What a tagger says, as responses."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger

    async def one(self, image: bytes, max_tags: int, min_confidence: float) -> Response:
        """The answer to an image of its own.

        Raises:
            Exception: it has none; see `Tagger.tag`.
        """
        [found] = await self._tagger.tag([image], max_tags, min_confidence)
        if isinstance(found, Exception):
            raise found
        return _json(found)

    async def all(self, images: Sequence[bytes], max_tags: int, min_confidence: float) -> Response:
        """A list: answers, and problems in the place of those that there are none for."""
        found = await self._tagger.tag(images, max_tags, min_confidence)
        return _json([self._entry(each) for each in found])

    def _entry(self, found: dict[str, Any] | Exception) -> dict[str, Any]:
        if not isinstance(found, Exception):
            return found
        problem = protocol.problem(found)
        if problem.status == 500:
            log.error("one image of a request failed", exc_info=found)
        self._tagger.metrics.count_error(problem.kind)
        return problem.model_dump()


class QuickPath:
    """An image as the raw body goes past the web framework; all else goes through it.

    What the framework would say differently from here (to a bad parameter, to a multipart body) is
    left to it.
    """

    def __init__(self, app: FastAPI, tagger: Tagger, answers: _Answers) -> None:
        self.app = app
        self._tagger = tagger
        self._answers = answers

    @property
    def routes(self) -> list[BaseRoute]:
        """The framework's: Ray names requests by them in its metrics."""
        return self.app.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        chosen = _plain(scope)
        if chosen is None:
            await self.app(scope, receive, send)
            return
        try:
            with self._tagger.metrics.timed_request():
                image = await uploads.body(scope, receive, self._tagger.config.images)
                response = await self._answers.one(image, *chosen)
        # Whatever it is, it is answered; the framework's own handlers do the same.
        except Exception as error:
            response = problems.refusal(error, self._tagger.metrics)
        await response(scope, receive, send)


def _plain(scope: Scope) -> tuple[int, float] | None:
    """The parameters of a request for one image's tags, if it needs no framework."""
    if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
        return None
    for name, value in scope["headers"]:
        if name == b"content-type" and value.lower().startswith(uploads.MULTIPART.encode()):
            return None
    query = scope["query_string"]
    if not query:
        return MAX_TAGS, 0.0
    found = _PARAMETERS.fullmatch(query)
    if found is None:
        return None
    max_tags, min_confidence = int(found[1] or MAX_TAGS), float(found[2] or 0)
    return (max_tags, min_confidence) if max_tags >= 1 and min_confidence <= 1 else None


def _describe(app: FastAPI) -> None:
    """Explanations are another application; the API is one, and so is its document."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                routes=[*app.routes, *explanations.routes()],
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
