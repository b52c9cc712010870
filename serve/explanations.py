"""The HTTP face of the explainer: it translates, and leaves the work to an `Explainer`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Annotated, Any, Protocol, TypeVar, cast

from fastapi import FastAPI, Query, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from pintag import __version__
from pintag.question import Question
from serve import openapi, problems, protocol, uploads
from serve.config import ExplainerConfig
from serve.protocol import ExplanationAnswer, Model, ParameterError

PATH = "/v1/explanations"
JSON, PNG = "application/json", "image/png"
T = TypeVar("T")

_NEITHER = HTTPException(HTTPStatus.NOT_ACCEPTABLE, f"there is {JSON} and {PNG}")
_KNOWN = protocol.http_problem(HTTPStatus.PRECONDITION_FAILED, "the client has this answer")
_RESPONSES: dict[int | str, dict[str, Any]] = {
    **openapi.PROBLEMS,
    200: {"content": {PNG: {"schema": {"type": "string", "format": "binary"}}}},
    406: openapi.shown(
        "`Accept` has neither JSON nor PNG",
        protocol.http_problem(_NEITHER.status_code, _NEITHER.detail),
    ),
    412: openapi.shown("`If-None-Match` has the answer's ETag", _KNOWN),
    422: openapi.shown(
        "A bad parameter, or an image of too many superpixels",
        protocol.problem(ParameterError("label: there is no 'cars'; there are food, houses")),
    ),
}


class Metrics(Protocol):
    """What is counted and timed here."""

    def timed_request(self) -> AbstractContextManager[None]: ...

    def count_error(self, kind: str) -> None: ...


class Explainer(Protocol):
    """Who does the work. Cancelled, it stops."""

    config: ExplainerConfig
    model: Model

    @property
    def metrics(self) -> Metrics: ...

    async def explain(self, data: bytes, question: Question) -> ExplanationAnswer: ...

    async def draw(self, data: bytes, question: Question) -> tuple[ExplanationAnswer, bytes]: ...


def build(explainer: Explainer) -> FastAPI:
    """The ASGI application over an explainer."""
    app = FastAPI(title="pintag explanations", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(_WholePath)
    problems.add(app, explainer.metrics)
    _add(app, explainer)
    return app


def routes() -> list[BaseRoute]:
    """The endpoint, to be described elsewhere and not to be called."""
    described = FastAPI(openapi_url=None)
    _add(described, cast(Explainer, None))
    return described.routes


def _add(app: FastAPI, explainer: Explainer) -> None:

    @app.post(
        PATH,
        response_model=ExplanationAnswer,
        responses=_RESPONSES,
        openapi_extra={"requestBody": openapi.IMAGE_BODY},
        summary="Explain a label",
    )
    async def explanations(request: Request, question: Annotated[Question, Query()]) -> Response:
        """Which superpixels carried a label, as weights or (`Accept: image/png`) as a picture.

        Send the image as the raw body, or as the multipart field `image`.
        """
        with explainer.metrics.timed_request():
            media_type = _preferred(_header(request, "accept") or JSON)
            [image] = await uploads.read(request, explainer.config.images)
            etag = _etag(image, question, explainer.model, media_type)
            if etag in _header(request, "if-none-match"):
                return problems.response(_KNOWN)
            if media_type == PNG:
                answer, content = await _unless_gone(request, explainer.draw(image, question))
            else:
                answer = await _unless_gone(request, explainer.explain(image, question))
                content = answer.model_dump_json().encode()
            return Response(content, media_type=media_type, headers=_caching(answer, etag))


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The work's result; it is cancelled when the client goes away."""
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


def _header(request: Request, name: str) -> str:
    """The value of a header that is a list, and may come in several lines (RFC 9110, 5.3)."""
    return ", ".join(request.headers.getlist(name))


def _preferred(accept: str) -> str:
    """The media type that the client would rather have; JSON where it does not mind.

    Raises:
        HTTPException: it takes neither.
    """
    wishes = [_wish(part) for part in accept.split(",")]
    best = max((JSON, PNG), key=lambda media: _quality(media, wishes))
    if not _quality(best, wishes):
        raise _NEITHER
    return best


def _wish(part: str) -> tuple[str, float]:
    """One element of an Accept header (RFC 9110, 12.5.1): a media range and its quality."""
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                quality = float(value)
            except ValueError:
                return media_range, 0.0
            return media_range, quality if 0 <= quality <= 1 else 0.0
    return media_range, 1.0


def _quality(media: str, wishes: list[tuple[str, float]]) -> float:
    """The most specific range that a media type falls into decides."""
    for media_range in (media, media.split("/")[0] + "/*", "*/*"):
        found = [quality for wish, quality in wishes if wish == media_range]
        if found:
            return max(found)
    return 0.0


def _etag(data: bytes, question: Question, model: Model, media_type: str) -> str:
    """Of whatever decides the answer, and so known before it."""
    parts = [model.version, question.model_dump_json(), media_type]
    digest = hashlib.sha256("\n".join(parts).encode())
    digest.update(hashlib.sha256(data).digest())
    return f'"{digest.hexdigest()[:32]}"'


def _caching(answer: ExplanationAnswer, etag: str) -> dict[str, str]:
    # Cut short, another time it may be better.
    if answer.outcome == "deadline":
        return {"Vary": "Accept", "Cache-Control": "no-store"}
    return {"Vary": "Accept", "Cache-Control": "private, no-cache", "ETag": etag}


class _WholePath:
    """Ray Serve takes an application's route prefix off its paths; ours is the whole path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        whole: dict[str, Any] = {**scope, "root_path": ""}
        await self._app(whole, receive, send)
