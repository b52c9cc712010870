"""The classifier's HTTP API: routes that read a request and write a `TagHandler`'s answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import orjson
from fastapi import FastAPI, Request, Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from pintag.core.version import __version__
from pintag.data.labels import Tag
from pintag.serve.api import (
    clients,
    error_handlers,
    explanations,
    hints,
    image_limits,
    openapi,
    pages,
    parameters,
    schemas,
    uploads,
)
from pintag.serve.api.schemas import Answer, Problem, TagParameters
from pintag.serve.deployment_config import ClassifierConfig
from pintag.serve.inference import off_loop
from pintag.serve.model_info import ModelInfo
from pintag.serve.observability.logs import log

PATH = "/v1/tags"
# Copying so many bytes takes a good part of a millisecond.
_LONG_BYTES = 2**20
# In the API document only.
_EXAMPLE = (Tag("houses", 0.9369354844093323), Tag("art", 0.037936095148324966))


class RequestMetrics(Protocol):
    """The metrics that these routes record."""

    def timed_request(self, images: int = 1) -> AbstractContextManager[None]: ...

    def count_error(self, kind: str) -> None: ...


class TagHandler(Protocol):
    """Tags images. `tag` returns an `Answer` as JSON or an error for each image, in order.

    It may be cancelled.
    """

    config: ClassifierConfig

    @property
    def info(self) -> ModelInfo: ...

    @property
    def metrics(self) -> RequestMetrics: ...

    async def tag(
        self, images: Sequence[bytes], max_tags: int, min_confidence: float
    ) -> list[bytes | Exception]: ...


def build(tagger: TagHandler, root_path: str = "") -> FastPath:
    """The ASGI application that calls a tagger; a proxy offers it below `root_path`."""
    app = FastAPI(
        title="pintag",
        version=__version__,
        summary="Tags images with their categories the moment they are uploaded.",
        # FastAPI's own pages load their scripts from other servers.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    error_handlers.add(app, tagger.metrics)
    _add_tags(app, tagger)
    _add_batch(app, tagger)
    _add_model(app, tagger)
    pages.add(app)
    explained = explanations.routes(tagger.config.images) if tagger.info.explained else []
    openapi.add(app, explained, root_path)
    return FastPath(app, tagger)


def _add_tags(app: FastAPI, tagger: TagHandler) -> None:
    answer = openapi.answer_example(
        "The tags; a list if the form has several images", _example(tagger.info)
    )

    @app.post(
        PATH,
        response_model=Answer | list[Answer | Problem],
        responses={**openapi.PROBLEMS, 200: answer},
        openapi_extra=openapi.request(
            openapi.image_body(tagger.config.images, TagParameters), TagParameters
        ),
        summary="Tag an image",
    )
    async def tags(request: Request) -> Response:
        """Send the image as the raw body, or as the multipart field `image` or `file`.

        If there are several such fields, the answer is a list with one entry for each image, in
        order. The entry of an image that could not be tagged is a problem. A form may have the
        parameters as fields.
        """
        images, query = await uploads.read_request(request, tagger.config.images, TagParameters)
        await image_limits.count(request.scope, len(images))
        with tagger.metrics.timed_request(len(images)):
            if len(images) == 1:
                return await _one_answer(tagger, request.scope, images[0], query)
            return await _all_answers(tagger, images, query)


def _add_batch(app: FastAPI, tagger: TagHandler) -> None:
    answer = openapi.answer_example(
        "A list of tags, or of errors, in order", [_example(tagger.info)]
    )

    @app.post(
        f"{PATH}:batch",
        response_model=list[Answer | Problem],
        responses={**openapi.PROBLEMS, 200: answer},
        openapi_extra=openapi.request(openapi.BATCH_BODY, TagParameters),
        summary="Tag many images",
    )
    async def batch(request: Request) -> Response:
        """Send the images one after the other, each after its length (4 bytes, big-endian).

        The answer is a list with one entry for each image, in order. The entry of an image that
        could not be tagged is a problem.
        """
        query = parameters.read(TagParameters, request.scope["query_string"])
        images = await uploads.read_batch(request, tagger.config.images)
        await image_limits.count(request.scope, len(images))
        with tagger.metrics.timed_request(len(images)):
            return await _all_answers(tagger, images, query)


def _example(info: ModelInfo) -> dict[str, Any]:
    """An answer for the API document."""
    return schemas.answer({"name": info.name, "version": info.version}, list(_EXAMPLE))


def _add_model(app: FastAPI, tagger: TagHandler) -> None:
    example = openapi.answer_example(
        "The model, its labels and its figures", tagger.info.model_dump()
    )

    @app.head("/v1/model", include_in_schema=False)
    @app.get(
        "/v1/model",
        response_model=ModelInfo,
        responses={**openapi.COMMON_PROBLEMS, 200: example},
        summary="The model that is served",
    )
    async def model() -> ModelInfo:
        return tagger.info


class FastPath:
    """Answers the most frequent request, one image as the raw body, without the web framework.

    This takes 25 µs of processor time; the framework takes 160 µs, and gets all other requests.
    """

    def __init__(self, app: FastAPI, tagger: TagHandler) -> None:
        self.app = app
        self._tagger = tagger

    @property
    def routes(self) -> list[BaseRoute]:
        """The framework's routes: Ray's metrics take the names of requests from them."""
        return self.app.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        clients.current.set(clients.of(scope))
        if not _has_one_image(scope):
            await self.app(scope, receive, send)
            return
        images = self._tagger.config.images
        try:
            query = parameters.read(TagParameters, scope["query_string"])
            image = await uploads.read_body(scope, receive, images, images.max_bytes)
            with self._tagger.metrics.timed_request():
                response = await _one_answer(self._tagger, scope, image, query)
        except Exception as error:
            response = error_handlers.error_response(error, self._tagger.metrics)
        await response(scope, receive, send)


def _has_one_image(scope: Scope) -> bool:
    """Whether a connection asks for the tags of one image in a raw body, as it was sent."""
    if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
        return False
    content_types = 0
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_types += 1
            if content_types > 1 or value[:9].lower() == b"multipart":
                return False
        elif name == b"content-encoding":
            return False
    return True


async def _one_answer(
    tagger: TagHandler, scope: Scope, image: bytes, query: TagParameters
) -> Response:
    """The answer to one image.

    Raises:
        Exception: the image could not be tagged; see `TagHandler.tag`.
    """
    [answer] = await tagger.tag([image], query.max_tags, query.min_confidence)
    if isinstance(answer, Exception):
        raise hints.explain(answer, image, uploads.header(scope, b"content-type"))
    return Response(answer, media_type="application/json")


async def _all_answers(
    tagger: TagHandler, images: Sequence[bytes], query: TagParameters
) -> Response:
    """A list with an answer or a problem for each image."""
    answers = await tagger.tag(images, query.max_tags, query.min_confidence)
    turns = off_loop.Turns()
    entries: list[bytes] = []
    for image, answer in zip(images, answers, strict=True):
        if isinstance(answer, Exception):
            entries.append(orjson.dumps(_problem(tagger, hints.explain(answer, image, ""))))
        else:
            entries.append(answer)
        await turns.end_of_part()
    is_long = sum(map(len, entries)) > _LONG_BYTES
    content = await off_loop.run(_as_list, entries) if is_long else _as_list(entries)
    return Response(content, media_type="application/json")


def _as_list(entries: Sequence[bytes]) -> bytes:
    return b"".join([b"[", b",".join(entries), b"]"])


def _problem(tagger: TagHandler, error: Exception) -> dict[str, Any]:
    """The entry of an image that could not be tagged."""
    problem = schemas.problem(error)
    if problem.status == 500:
        log.error("one image of a request failed", exc_info=error)
    tagger.metrics.count_error(problem.kind)
    return problem.model_dump()
