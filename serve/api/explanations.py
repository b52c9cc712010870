"""The HTTP endpoint of the explainer: it translates and delegates to an `ExplanationHandler`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any, Protocol, TypeVar, cast

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_etags, quote_etag

from pintag.core.errors import NotAnImageError
from pintag.core.version import __version__
from pintag.explain.request import ExplanationRequest
from pintag.explain.schema import ExplanationAnswer
from pintag.models.identity import Model
from pintag.serve.api import clients, error_handlers, hints, openapi, schemas, uploads
from pintag.serve.deployment_config import ExplainerConfig, ImageConfig
from pintag.serve.errors import ParameterError
from pintag.serve.inference import off_loop

PATH = "/v1/explanations"
JSON, PNG = "application/json", "image/png"
# Browsers send 200.
_MAX_ACCEPT = 1024
T = TypeVar("T")

_NOT_ACCEPTABLE = HTTPException(
    HTTPStatus.NOT_ACCEPTABLE, f"Accept: choose {JSON} or {PNG}, the media types of an answer"
)
_NOT_MODIFIED = schemas.http_problem(HTTPStatus.PRECONDITION_FAILED, "the client has this answer")
_RESPONSES: dict[int | str, dict[str, Any]] = {
    **openapi.PROBLEMS,
    200: {
        "description": "The weights of the superpixels, or the image with them",
        "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
    },
    406: openapi.problem_example(
        "`Accept` has neither JSON nor PNG",
        schemas.http_problem(_NOT_ACCEPTABLE.status_code, _NOT_ACCEPTABLE.detail),
    ),
    412: openapi.problem_example("`If-None-Match` has the answer's ETag", _NOT_MODIFIED),
    422: openapi.problem_example(
        "A bad parameter, or an image of too many superpixels",
        schemas.problem(ParameterError("label: there is no 'cars'; there are food, houses")),
    ),
}


class ExplanationRequestMetrics(Protocol):
    """The metrics that the endpoint reports to."""

    def timed_request(self, images: int = 1) -> AbstractContextManager[None]: ...

    def count_error(self, kind: str) -> None: ...


class ExplanationHandler(Protocol):
    """Computes explanations. Cancelling a call stops its work.

    `digest` is the SHA-256 of the encoded image `data`.
    """

    config: ExplainerConfig
    model: Model

    @property
    def metrics(self) -> ExplanationRequestMetrics: ...

    async def explain(
        self, data: bytes, digest: bytes, request: ExplanationRequest
    ) -> ExplanationAnswer: ...

    async def draw(
        self, data: bytes, digest: bytes, request: ExplanationRequest
    ) -> tuple[ExplanationAnswer, bytes]: ...


def build(explainer: ExplanationHandler) -> FastAPI:
    """The ASGI application that calls an explainer."""
    app = FastAPI(
        title="pintag explanations",
        version=__version__,
        # The classifier documents the whole API.
        openapi_url=None,
        redirect_slashes=False,
    )
    error_handlers.add(app, explainer.metrics)
    _add(app, explainer, explainer.config.images)
    return app


def routes(images: ImageConfig) -> list[BaseRoute]:
    """The endpoint's route, for an OpenAPI document only: it has no explainer to call."""
    described = FastAPI(openapi_url=None)
    _add(described, cast(ExplanationHandler, None), images)
    return described.routes


def _add(app: FastAPI, explainer: ExplanationHandler, images: ImageConfig) -> None:
    body = openapi.image_body(images, ExplanationRequest)

    @app.post(
        PATH,
        response_model=ExplanationAnswer,
        responses=_RESPONSES,
        openapi_extra=openapi.request(body, ExplanationRequest),
        summary="Explain a label",
    )
    async def explanations(request: Request) -> Response:
        """The superpixels that are evidence for or against a label.

        The answer is JSON with their weights or, with `Accept: image/png`, a picture.

        Send the image as the raw body, or as the multipart field `image` or `file`. A form may have
        the parameters as fields.
        """
        clients.current.set(clients.of(request.scope))
        media_type = _preferred(uploads.header(request.scope, b"accept") or JSON)
        [image], query = await uploads.read_request(
            request, explainer.config.images, ExplanationRequest
        )
        with explainer.metrics.timed_request():
            return await _answer(explainer, request, image, query, media_type)


async def _answer(
    explainer: ExplanationHandler,
    request: Request,
    image: bytes,
    query: ExplanationRequest,
    media_type: str,
) -> Response:
    [digest] = await off_loop.digests([image])
    etag = _etag(digest, query, explainer.model, media_type)
    condition = uploads.header(request.scope, b"if-none-match")
    if _has(condition, etag):
        return error_handlers.problem_response(_NOT_MODIFIED)
    try:
        if media_type == PNG:
            answer, content = await _unless_disconnected(
                request, explainer.draw(image, digest, query)
            )
        else:
            answer = await _unless_disconnected(request, explainer.explain(image, digest, query))
            content = answer.model_dump_json().encode()
    except NotAnImageError as error:
        raise hints.explain(error, image, uploads.header(request.scope, b"content-type")) from error
    return Response(content, media_type=media_type, headers=_caching(answer, etag))


async def _unless_disconnected(request: Request, work: Awaitable[T]) -> T:
    """Await the work, and cancel it when the client disconnects.

    Raises:
        ClientDisconnect: the client disconnected first.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        watching.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _preferred(accept: str) -> str:
    """The media type that the client prefers; JSON if it has no preference.

    Only the first `_MAX_ACCEPT` characters count: parsing 16 KB takes 30 ms.

    Raises:
        HTTPException: the client accepts neither JSON nor PNG.
    """
    accepted = parse_accept_header(accept[:_MAX_ACCEPT], MIMEAccept)
    best = max((JSON, PNG), key=accepted.quality)
    if not accepted.quality(best):
        raise _NOT_ACCEPTABLE
    return best


def _has(condition: str, etag: str) -> bool:
    """Whether `If-None-Match` lists the ETag, as a weak or a strong one (RFC 9110, 13.1.2).

    `*` lists every ETag.
    """
    tags = parse_etags(condition)
    return tags.contains_weak(etag)


def _etag(image: bytes, parameters: ExplanationRequest, model: Model, media_type: str) -> str:
    """A hash of everything that determines the answer, so it is known before the computation.

    `image` is the SHA-256 of the encoded image.
    """
    parts = [model.version, parameters.model_dump_json(), media_type]
    digest = hashlib.sha256("\n".join(parts).encode())
    digest.update(image)
    return digest.hexdigest()[:32]


def _caching(answer: ExplanationAnswer, etag: str) -> dict[str, str]:
    # The time limit ended the sampling: a later answer may be better.
    if answer.outcome == "deadline":
        return {"Vary": "Accept", "Cache-Control": "no-store"}
    return {"Vary": "Accept", "Cache-Control": "private, no-cache", "ETag": quote_etag(etag)}
