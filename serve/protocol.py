"""What crosses the wire: answers, and errors as RFC 9457 problems."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

from pintag.bundle import ModelBundle
from pintag.errors import ImageTooLargeError, NotAnImageError, UnsupportedFormatError
from pintag.labels import Tag

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1


class OverloadedError(Exception):
    """The queue is full: try again later."""


class ParameterError(Exception):
    """A request has the right form and a wrong value."""


class Model(BaseModel):
    """Which model answered."""

    name: str = Field(examples=["mobilenet"])
    version: str = Field(examples=["d9ad6c45d208"])


class TagItem(BaseModel):
    """One suggested category."""

    label: str = Field(examples=["houses"])
    confidence: float = Field(
        ge=0,
        le=1,
        examples=[0.93],
        description="the calibrated probability that the label is right",
    )


class Answer(BaseModel):
    """The tags of one image, most confident first."""

    model: Model
    tags: list[TagItem]


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(default="about:blank", description="what kind of problem, as a URI reference")
    title: str = Field(examples=["Unsupported Media Type"])
    status: int = Field(examples=[415])
    detail: str = Field(examples=["TIFF is not accepted; send JPEG, PNG, WEBP, GIF, BMP"])
    kind: str = Field(examples=["unsupported_format"], description="a stable name for programs")


class ModelInfo(BaseModel):
    """The model that is served."""

    name: str
    version: str
    created: str
    labels: list[str]
    backbone: str
    alpha: float
    input_size: int
    preprocessing: str
    temperature: float
    engine: str
    synthetic: bool = Field(description="whether the training images were drawn by a program")
    metrics: dict[str, Any]


# Each error's status, and the name under which it is counted.
_KINDS: dict[type[BaseException], tuple[HTTPStatus, str]] = {
    NotAnImageError: (HTTPStatus.BAD_REQUEST, "not_an_image"),
    ImageTooLargeError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large"),
    UnsupportedFormatError: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_format"),
    ParameterError: (HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter"),
    OverloadedError: (HTTPStatus.SERVICE_UNAVAILABLE, "overloaded"),
    TimeoutError: (HTTPStatus.GATEWAY_TIMEOUT, "deadline"),
    asyncio.CancelledError: (HTTPStatus.GATEWAY_TIMEOUT, "deadline"),
}


def problem(error: BaseException) -> Problem:
    """What a client is told of `error`; an error of the server's own is a 500 without detail."""
    for kind, (status, name) in _KINDS.items():
        if isinstance(error, kind):
            return Problem(
                title=status.phrase, status=status, detail=str(error) or status.phrase, kind=name
            )
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return Problem(
        title=status.phrase,
        status=status,
        detail="the server failed; its log says why",
        kind="internal",
    )


def http_problem(status_code: int, detail: str) -> Problem:
    """The problem of an error that the web framework found: no such path, no such method."""
    status = HTTPStatus(status_code)
    return Problem(title=status.phrase, status=status, detail=detail, kind=status.name.lower())


def answer(model: Model, tags: list[Tag]) -> Answer:
    """Tags as they cross the wire."""
    items = [TagItem(label=tag.label, confidence=tag.confidence) for tag in tags]
    return Answer(model=model, tags=items)


def model_info(bundle: ModelBundle, engine: str) -> ModelInfo:
    """What `GET /v1/model` tells of a bundle."""
    manifest = bundle.manifest
    return ModelInfo(
        name=manifest.name,
        version=manifest.version,
        created=manifest.created.isoformat(),
        labels=list(manifest.labels),
        backbone=manifest.network.backbone,
        alpha=manifest.network.alpha,
        input_size=manifest.network.input_size,
        preprocessing=manifest.preprocessing,
        temperature=manifest.temperature,
        engine=engine,
        synthetic=bool(manifest.data.get("synthetic")),
        metrics=manifest.metrics,
    )
