"""The OpenAPI document, and its parts that several routes share: bodies, parameters, problems."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.routing import BaseRoute

from pintag.core.errors import ImageTooLargeError, NotAnImageError
from pintag.images import formats, header_reader
from pintag.serve.api import multipart, parameters, schemas
from pintag.serve.api.request_rules import MAX_HEADER_BYTES, MAX_URI_BYTES
from pintag.serve.api.schemas import Problem
from pintag.serve.deployment_config import ImageConfig
from pintag.serve.errors import (
    LateBodyError,
    LongHeadersError,
    LongUriError,
    OverloadedError,
    ParameterError,
    RateLimitedError,
    UnauthorizedError,
)
from pintag.serve.ingress import answers

_BINARY = {"type": "string", "format": "binary"}
BATCH_BODY = {
    "required": True,
    "content": {
        "application/octet-stream": {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "for each image: its length (4 bytes, big-endian), then its bytes",
            }
        }
    },
}

# A server without API keys asks for none.
_SECURITY: list[dict[str, list[str]]] = [{"apiKey": []}, {}]
_SECURITY_SCHEMES = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "an API key, as `pintag key` prints it; only a server with keys needs one",
    }
}


def add(app: FastAPI, more_routes: Sequence[BaseRoute], root_path: str) -> None:
    """Make an application serve the document of its routes, and of those of another application.

    Args:
        app: serves the document.
        more_routes: routes of another application; clients see one API.
        root_path: the path below which a proxy offers the API, such as `/pintag`; empty if none.
    """

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                routes=[*app.routes, *more_routes],
                servers=[{"url": root_path}] if root_path else None,
            )
            schema["components"]["securitySchemes"] = _SECURITY_SCHEMES
            schema["security"] = _SECURITY
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def image_body(config: ImageConfig, model: type[BaseModel]) -> dict[str, Any]:
    """A body with one image, or with several and the parameters of `model` in a form."""
    kinds = [f"image/{name.lower()}" for name in formats.accepted(config.heif)]
    images = {"type": "array", "minItems": 1, "items": _BINARY}
    form = {
        "type": "object",
        "required": [multipart.FIELD],
        "properties": {multipart.FIELD: images, **parameters.schemas(model)},
    }
    return {
        "required": True,
        "content": {
            **{kind: {"schema": _BINARY} for kind in (*kinds, "application/octet-stream")},
            multipart.MEDIA_TYPE: {"schema": form},
        },
    }


def request(body: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The body and the parameters of an operation that reads both itself."""
    return {"requestBody": body, "parameters": parameters.document(model)}


def problem_example(description: str, problem: Problem) -> dict[str, Any]:
    """A response of the OpenAPI document, with a problem as its example."""
    content = {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "example": problem.model_dump(),
    }
    return {"description": description, "content": {schemas.PROBLEM_TYPE: content}}


def answer_example(description: str, example: Any) -> dict[str, Any]:
    """The response 200 of the OpenAPI document, with an example of its JSON."""
    return {"description": description, "content": {"application/json": {"example": example}}}


def _error_example(description: str, error: Exception) -> dict[str, Any]:
    """A response of the OpenAPI document, with the problem of an error as its example."""
    return problem_example(description, schemas.problem(error))


COMMON_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: _error_example(
        "The server requires an API key, and the request has no valid one",
        UnauthorizedError(
            "this server requires an API key; send the header 'Authorization: Bearer KEY'"
        ),
    ),
    414: _error_example(
        "The path and the query are too long",
        LongUriError(f"the path and the query have more than {MAX_URI_BYTES:,} bytes"),
    ),
    429: _error_example(
        "A limit of the key is reached, or too many uploads of the client's address are on their "
        "way; `Retry-After` has the seconds to wait",
        RateLimitedError("uploads has reached its rate limit; try again in 2 s", 2),
    ),
    431: _error_example(
        "The headers are too long",
        LongHeadersError(f"the headers have more than {MAX_HEADER_BYTES:,} bytes"),
    ),
    503: _error_example(
        "The queue is full; `Retry-After` has the seconds to wait",
        OverloadedError("128 images are in flight, the limit is 128; try again"),
    ),
    500: _error_example("The server failed, which is an error of pintag", Exception()),
    502: problem_example(
        "A replica ended during its answer",
        schemas.http_problem(HTTPStatus.BAD_GATEWAY, answers.CUT_OFF),
    ),
    504: _error_example(
        "The answer was not ready before the deadline",
        TimeoutError("not done within 10 s, the deadline"),
    ),
}
"""Errors that every endpoint below /v1/ may answer with."""

PROBLEMS: dict[int | str, dict[str, Any]] = {
    **COMMON_PROBLEMS,
    400: _error_example(
        "The body is not an image, or the image, the form or the encoding is cut off or damaged",
        NotAnImageError("no bytes: the image is empty"),
    ),
    408: _error_example(
        "The body did not arrive in time", LateBodyError("the body did not arrive within 60 s")
    ),
    413: _error_example(
        "The image has more bytes or pixels than the limits allow",
        ImageTooLargeError("20000x20000 pixels; at most 250,000,000 in all are accepted"),
    ),
    415: _error_example(
        "The format or the content encoding of the body is not accepted",
        header_reader.unsupported("TIFF"),
    ),
    422: _error_example(
        "A parameter or the number of images is wrong, or decoding the image takes too long",
        ParameterError("max_tags: must be at least 1"),
    ),
}
