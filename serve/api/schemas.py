"""The schemas of the HTTP API: parameters, answers, and errors as RFC 9457 problems."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

from pintag.core.errors import (
    DecodingError,
    ExplainError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedFormatError,
)
from pintag.data.labels import Tag
from pintag.models.identity import Model
from pintag.serve.errors import (
    EncodingError,
    LateBodyError,
    LongHeadersError,
    LongUriError,
    MalformedBodyError,
    OverloadedError,
    ParameterError,
    RateLimitedError,
    RateLimiterUnavailableError,
    TooManyImagesError,
    UnauthorizedError,
)

PROBLEM_TYPE = "application/problem+json"


class TagParameters(BaseModel):
    """The parameters of a request for tags."""

    max_tags: int = Field(default=5, ge=1, description="the highest number of tags to return")
    min_confidence: float = Field(
        default=0.0, ge=0, le=1, description="only return tags of at least this confidence"
    )


class TagItem(BaseModel):
    """One suggested category."""

    label: str = Field(examples=["houses"])
    confidence: float = Field(
        ge=0,
        le=1,
        examples=[0.93],
        description="the calibrated probability that the label is correct",
    )


class Answer(BaseModel):
    """The tags of one image, most confident first."""

    model: Model
    tags: list[TagItem]


class Problem(BaseModel):
    """An error, in the format of RFC 9457."""

    type: str = Field(default="about:blank", description="the problem type, as a URI reference")
    title: str = Field(examples=["Unsupported Media Type"])
    status: int = Field(examples=[415])
    detail: str = Field(examples=["TIFF is not accepted; send JPEG, PNG, WEBP, GIF, BMP"])
    kind: str = Field(
        examples=["unsupported_format"], description="a stable name of the error, for programs"
    )


# The status of each error, and its name in problems and metrics.
_KINDS: dict[type[BaseException], tuple[HTTPStatus, str]] = {
    NotAnImageError: (HTTPStatus.BAD_REQUEST, "not_an_image"),
    MalformedBodyError: (HTTPStatus.BAD_REQUEST, "bad_request"),
    ImageTooLargeError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large"),
    UnsupportedFormatError: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_format"),
    # Not a 5xx: neither HAProxy nor a client should try it again.
    DecodingError: (HTTPStatus.UNPROCESSABLE_ENTITY, "cannot_decode"),
    EncodingError: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding"),
    ParameterError: (HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter"),
    ExplainError: (HTTPStatus.UNPROCESSABLE_ENTITY, "cannot_explain"),
    OverloadedError: (HTTPStatus.SERVICE_UNAVAILABLE, "overloaded"),
    RateLimitedError: (HTTPStatus.TOO_MANY_REQUESTS, "rate_limited"),
    RateLimiterUnavailableError: (HTTPStatus.SERVICE_UNAVAILABLE, "rate_limiter_unavailable"),
    TooManyImagesError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_many_images"),
    UnauthorizedError: (HTTPStatus.UNAUTHORIZED, "unauthorized"),
    LongUriError: (HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long"),
    LongHeadersError: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_long"),
    # HAProxy sends the same problem if it waits for the body (see serve/ingress).
    LateBodyError: (HTTPStatus.REQUEST_TIMEOUT, "late_body"),
    TimeoutError: (HTTPStatus.GATEWAY_TIMEOUT, "deadline"),
    asyncio.CancelledError: (HTTPStatus.GATEWAY_TIMEOUT, "deadline"),
}


def problem(error: BaseException) -> Problem:
    """The problem that is sent for an error. An unexpected error becomes a 500 without details."""
    for kind, (status, name) in _KINDS.items():
        if isinstance(error, kind):
            return Problem(
                title=status.phrase, status=status, detail=str(error) or status.phrase, kind=name
            )
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return Problem(
        title=status.phrase,
        status=status,
        detail="the server failed; see its log for the reason",
        kind="internal",
    )


def http_problem(status_code: int, detail: str) -> Problem:
    """The problem of an error that the web framework raised, such as 404 or 405."""
    status = HTTPStatus(status_code)
    return Problem(title=status.phrase, status=status, detail=detail, kind=status.name.lower())


def answer(model: dict[str, str], tags: list[Tag]) -> dict[str, Any]:
    """An `Answer` as plain data: a pydantic object would take a tenth of a request's time."""
    items = [{"label": tag.label, "confidence": tag.confidence} for tag in tags]
    return {"model": model, "tags": items}
