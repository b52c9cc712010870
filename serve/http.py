"""The HTTP face of the classifier: it translates, and leaves the work to a `Tagger`."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pintag import __version__
from pintag.errors import (
    ImageTooLargeError,
    NotAnImageError,
    PintagError,
    UnsupportedFormatError,
)
from pintag.labels import Tag
from serve import protocol, uploads
from serve.config import ClassifierConfig
from serve.protocol import (
    Answer,
    Model,
    ModelInfo,
    OverloadedError,
    ParameterError,
    Problem,
)

# Serve's own, which lands in the replica's log file; any other would go to standard error.
log = logging.getLogger("ray.serve")

_IMAGE_BODY = {
    "required": True,
    "content": {
        **{
            f"image/{kind}": {"schema": {"type": "string", "format": "binary"}}
            for kind in ("jpeg", "png", "webp", "gif", "bmp")
        },
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        uploads.MULTIPART: {
            "schema": {
                "type": "object",
                "required": [uploads.FIELD],
                "properties": {
                    uploads.FIELD: {
                        "type": "array",
                        "items": {"type": "string", "format": "binary"},
                    }
                },
            }
        },
    },
}


def _shown(description: str, error: Exception) -> dict[str, Any]:
    """A problem as OpenAPI shows it: the one that `error` becomes."""
    content = {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "example": protocol.problem(error).model_dump(),
    }
    return {"description": description, "content": {protocol.PROBLEM_TYPE: content}}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _shown("Not an image, or a corrupt one", NotAnImageError("no bytes: the image is empty")),
    413: _shown(
        "More bytes or pixels than the limits allow",
        ImageTooLargeError("10000x10000 pixels; at most 50,000,000 in all are accepted"),
    ),
    415: _shown(
        "An image of a format that is not accepted",
        UnsupportedFormatError("TIFF is not accepted; send JPEG, PNG, WEBP, GIF, BMP"),
    ),
    422: _shown(
        "A bad parameter",
        ParameterError("max_tags: Input should be greater than or equal to 1"),
    ),
    503: _shown(
        "The queue is full; `Retry-After` says when to try again",
        OverloadedError("128 images are under way, as many as are admitted; try again"),
    ),
    504: _shown("The deadline passed", TimeoutError("not done within 10 s, the deadline")),
}


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
    )
    _add_problems(app, tagger)

    @app.post(
        "/v1/tags",
        response_model=Answer | list[Answer | Problem],
        responses=_PROBLEMS,
        openapi_extra={"requestBody": _IMAGE_BODY},
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

    return app


def _add_problems(app: FastAPI, tagger: Tagger) -> None:
    async def on_error(request: Request, error: Exception) -> Response:
        found = protocol.problem(error)
        if found.status == 500:
            log.error("request failed", exc_info=error)
        tagger.metrics.count_error(found.kind)
        return _problem(found)

    async def on_disconnect(request: Request, error: Exception) -> Response:
        # Nobody is left to answer: the status is for Ray's metrics, where it means just this.
        return Response(status_code=499)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return await on_error(request, ParameterError(f"{first['loc'][-1]}: {first['msg']}"))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        found = protocol.http_problem(error.status_code, str(error.detail))
        tagger.metrics.count_error(found.kind)
        return _problem(found, error.headers)

    for kind in (PintagError, OverloadedError, ParameterError, TimeoutError, Exception):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(ClientDisconnect, on_disconnect)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)


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


def _problem(found: Problem, headers: Any = None) -> Response:
    extra = dict(headers or {})
    if found.status == 503:
        extra["Retry-After"] = str(protocol.RETRY_AFTER_SECONDS)
    return Response(
        found.model_dump_json(), found.status, headers=extra, media_type=protocol.PROBLEM_TYPE
    )
