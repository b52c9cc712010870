"""What crosses the wire: answers, and errors as RFC 9457 problems."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, Field

from pintag.bundle import ModelBundle
from pintag.engine import Engine
from pintag.errors import (
    ExplainError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedFormatError,
)
from pintag.labels import Tag

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1


class RefusedError(Exception):
    """The server will not do it for this client now, and says so with headers."""

    headers: Mapping[str, str] = MappingProxyType({})


class LaterError(RefusedError):
    """Try again later."""

    def __init__(self, message: str, retry_after: int = RETRY_AFTER_SECONDS) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_after)}


class OverloadedError(LaterError):
    """The queue is full."""


class RateLimitedError(LaterError):
    """The client has used what its key allows."""


class UnauthorizedError(RefusedError):
    """The request has no key, or one that nobody has."""

    headers: Mapping[str, str] = MappingProxyType({"WWW-Authenticate": 'Bearer realm="pintag"'})


class LateBodyError(TimeoutError):
    """A request's body has not arrived in time."""


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


class CandidateInfo(Model):
    """A second model, on trial beside the one that serves."""

    shadow: float = Field(examples=[0.05], description="of the images, those it is compared over")
    canary: float = Field(examples=[0.01], description="of the images, those that it answers")


class Answer(BaseModel):
    """The tags of one image, most confident first."""

    model: Model
    tags: list[TagItem]


class SurrogateItem(BaseModel):
    """The linear model that was fitted around the image."""

    score: float = Field(examples=[0.81], description="R² on the samples it was fitted to")
    intercept: float = Field(examples=[-3.2])
    prediction: float = Field(examples=[0.97], description="the confidence it gives the image")
    scale: str = Field(examples=["log-odds"], description="the unit of weights and intercept")


class SegmentationItem(BaseModel):
    """The superpixels."""

    algorithm: str = Field(examples=["quickshift"])
    width: int = Field(examples=[160])
    height: int = Field(examples=[160])
    count: int = Field(examples=[22])
    map: str = Field(
        description="an RGB PNG in base64, of the image squeezed to the network's input: "
        "a pixel's segment is R + 256 G + 65536 B"
    )


class WeightItem(BaseModel):
    """What one superpixel carries."""

    segment: int = Field(examples=[7])
    weight: float = Field(examples=[1.9], description="above zero speaks for the label")
    low: float | None = Field(examples=[1.5], description="the interval's ends; unknown in plain")
    high: float | None = Field(examples=[2.3], description="LIME, and from too few samples")


class SecondsItem(BaseModel):
    """Wall seconds of each phase."""

    segmentation: float
    sampling: float
    fit: float
    total: float


class ExplanationAnswer(BaseModel):
    """Why one label."""

    model: Model
    label: str = Field(examples=["houses"])
    confidence: float = Field(examples=[0.93])
    mode: str = Field(examples=["stable"])
    outcome: str = Field(
        examples=["budget"],
        description="`separated`: the superpixels asked for are told apart from the rest; "
        "`budget`: every sample was used; `deadline`: cut short, this is what is known",
    )
    level: float | None = Field(examples=[0.95], description="of intervals and claims")
    claimed: int | None = Field(
        examples=[3], description="so many of the first superpixels are told apart from the rest"
    )
    num_features: int = Field(examples=[5])
    positive_only: bool = Field(
        examples=[False], description="whether superpixels are ranked by weight, not its magnitude"
    )
    samples: int = Field(examples=[449], description="images that the model was asked about")
    surrogate: SurrogateItem
    segmentation: SegmentationItem
    weights: list[WeightItem] = Field(description="every superpixel, most important first")
    seconds: SecondsItem


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
    engine: str = Field(examples=["openvino"])
    precision: str = Field(examples=["int8"], description="of the engine: fp32, fp16 or int8")
    synthetic: bool = Field(description="whether the training images were drawn by a program")
    explained: bool = Field(default=True, description="whether there is `POST /v1/explanations`")
    metrics: dict[str, Any]
    candidate: CandidateInfo | None = Field(default=None, description="while one is well")


# Each error's status, and the name under which it is counted.
_KINDS: dict[type[BaseException], tuple[HTTPStatus, str]] = {
    NotAnImageError: (HTTPStatus.BAD_REQUEST, "not_an_image"),
    ImageTooLargeError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large"),
    UnsupportedFormatError: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_format"),
    ParameterError: (HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter"),
    ExplainError: (HTTPStatus.UNPROCESSABLE_ENTITY, "cannot_explain"),
    OverloadedError: (HTTPStatus.SERVICE_UNAVAILABLE, "overloaded"),
    RateLimitedError: (HTTPStatus.TOO_MANY_REQUESTS, "rate_limited"),
    UnauthorizedError: (HTTPStatus.UNAUTHORIZED, "unauthorized"),
    # serve/haproxy.sh says the same where HAProxy waits for the body.
    LateBodyError: (HTTPStatus.REQUEST_TIMEOUT, "late_body"),
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


def answer(model: dict[str, str], tags: list[Tag]) -> dict[str, Any]:
    """An `Answer` as plain data: making an object of it would be a tenth of a request's work."""
    items = [{"label": tag.label, "confidence": tag.confidence} for tag in tags]
    return {"model": model, "tags": items}


def model_info(bundle: ModelBundle, engine: Engine) -> ModelInfo:
    """What `GET /v1/model` tells of a bundle, and of the engine that serves it."""
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
        engine=engine.name,
        precision=engine.precision,
        synthetic=bool(manifest.data.get("synthetic")),
        metrics=manifest.metrics,
    )
