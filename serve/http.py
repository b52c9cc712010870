"""The HTTP face of the classifier: it translates, and leaves the work to a `Tagger`."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message

from pintag import __version__
from pintag.errors import ImageTooLargeError, PintagError
from pintag.labels import Tag
from serve import protocol
from serve.config import ClassifierConfig
from serve.metrics import Metrics, timed
from serve.protocol import Answer, Model, ModelInfo, ParameterError, Problem

log = logging.getLogger(__name__)

MULTIPART = "multipart/form-data"
FIELD = "image"

_IMAGE_BODY = {
    "required": True,
    "content": {
        **{
            f"image/{kind}": {"schema": {"type": "string", "format": "binary"}}
            for kind in ("jpeg", "png", "webp", "gif", "bmp")
        },
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        MULTIPART: {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {
                    FIELD: {"type": "array", "items": {"type": "string", "format": "binary"}}
                },
            }
        },
    },
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {protocol.PROBLEM_TYPE: {"schema": Problem.model_json_schema()}},
    }
    for status, description in {
        400: "Not an image, or a corrupt one",
        413: "More bytes or pixels than the limits allow",
        415: "An image of a format that is not accepted",
        422: "A bad parameter",
        503: "The queue is full; `Retry-After` says when to try again",
        504: "The deadline passed",
    }.items()
}


class Tagger(Protocol):
    """Who does the work."""

    config: ClassifierConfig
    info: ModelInfo
    model: Model
    metrics: Metrics

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

        with timed(tagger.metrics.total):
            if not request.headers.get("content-type", "").startswith(MULTIPART):
                limit = tagger.config.images.max_bytes
                return _json(await one(await _body(_limited(request, limit))))
            uploads = await _uploads(request, tagger.config)
            if len(uploads) == 1:
                return _json(await one(uploads[0]))
            results = await asyncio.gather(*map(one, uploads), return_exceptions=True)
            return _json([_entry(result, tagger.metrics) for result in results])

    @app.get("/v1/model", response_model=ModelInfo, summary="The model that is served")
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

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return await on_error(request, ParameterError(f"{first['loc'][-1]}: {first['msg']}"))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        found = protocol.http_problem(error.status_code, str(error.detail))
        tagger.metrics.count_error(found.kind)
        return _problem(found, error.headers)

    for kind in (PintagError, protocol.OverloadedError, ParameterError, TimeoutError, Exception):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)


def _limited(request: Request, max_bytes: int) -> Request:
    """The same request, whose body is refused as soon as it is too long, before it is all read."""
    too_large = ImageTooLargeError(f"the body has more than {max_bytes:,} bytes, the limit")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise too_large
    seen = 0

    async def receive() -> Message:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > max_bytes:
            raise too_large
        return message

    return Request(request.scope, receive)


async def _body(request: Request) -> bytes:
    return await request.body()


async def _uploads(request: Request, config: ClassifierConfig) -> list[bytes]:
    most = config.images.max_images
    limited = _limited(request, config.images.max_request_bytes)
    async with limited.form(max_files=most, max_fields=most) as form:
        parts = form.getlist(FIELD)
        uploads = [await part.read() for part in parts if isinstance(part, UploadFile)]
    if not uploads or len(uploads) < len(parts):
        raise ParameterError(f"expected one or more files in the multipart field {FIELD!r}")
    return uploads


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
