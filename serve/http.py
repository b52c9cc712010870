"""The HTTP face of the classifier: it translates, and leaves the work to a `Tagger`."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Query, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from pintag import __version__
from pintag.labels import Tag
from serve import explanations, openapi, pages, problems, protocol, uploads
from serve.config import ClassifierConfig
from serve.problems import log
from serve.protocol import Answer, Model, ModelInfo, Problem


class Metrics(Protocol):
    """What is counted and timed here."""

    def timed_request(self) -> AbstractContextManager[None]: ...

    def count_error(self, kind: str) -> None: ...


class Tagger(Protocol):
    """Who does the work."""

    config: ClassifierConfig
    info: ModelInfo
    model: Model

    @property
    def metrics(self) -> Metrics: ...

    async def tag(self, data: bytes, max_tags: int, min_confidence: float) -> list[Tag]: ...


def build(tagger: Tagger) -> FastAPI:
    """The ASGI application over a tagger."""
    app = FastAPI(
        title="pintag",
        version=__version__,
        summary="Tags images with their categories the moment they are uploaded.",
        # FastAPI's own pages load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    pages.add(app)
    problems.add(app, tagger.metrics)

    @app.post(
        "/v1/tags",
        response_model=Answer | list[Answer | Problem],
        responses=openapi.PROBLEMS,
        openapi_extra={"requestBody": openapi.IMAGE_BODY},
        summary="Tag an image",
    )
    async def tags(
        request: Request,
        max_tags: Annotated[int, Query(ge=1, description="at most so many tags")] = 5,
        min_confidence: Annotated[
            float, Query(ge=0, le=1, description="no tag below this confidence")
        ] = 0.0,
    ) -> Response:
        """Send the image as the raw body, or as the multipart field `image`.

        Several `image` fields make the answer a list: one entry for each, in order, a problem in
        the place of an image that could not be tagged.
        """

        async def one(data: bytes) -> Answer:
            found = await tagger.tag(data, max_tags, min_confidence)
            return protocol.answer(tagger.model, found)

        with tagger.metrics.timed_request():
            images = await uploads.read(request, tagger.config.images)
            if len(images) == 1:
                return _json(await one(images[0]))
            results = await asyncio.gather(*map(one, images), return_exceptions=True)
            return _json([_entry(result, tagger.metrics) for result in results])

    @app.get(
        "/v1/model",
        response_model=ModelInfo,
        responses={200: {"content": {"application/json": {"example": tagger.info.model_dump()}}}},
        summary="The model that is served",
    )
    async def model() -> ModelInfo:
        return tagger.info

    if tagger.info.explained:
        _describe(app)
    return app


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


def _entry(result: Answer | BaseException, metrics: Metrics) -> Answer | Problem:
    if isinstance(result, Answer):
        return result
    found = protocol.problem(result)
    if found.status == 500:
        log.error("one image of a request failed", exc_info=result)
    metrics.count_error(found.kind)
    return found


def _json(content: Answer | list[Answer | Problem]) -> Response:
    if isinstance(content, list):
        return JSONResponse([entry.model_dump() for entry in content])
    return Response(content.model_dump_json(), media_type="application/json")
