"""What the two applications' OpenAPI documents have in common: the image, and the problems."""

from __future__ import annotations

from typing import Any

from pintag.errors import ImageTooLargeError, NotAnImageError, UnsupportedFormatError
from serve import protocol, uploads
from serve.protocol import (
    LateBodyError,
    OverloadedError,
    ParameterError,
    Problem,
    RateLimitedError,
    UnauthorizedError,
)

IMAGE_BODY = {
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
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                    }
                },
            }
        },
    },
}

BATCH_BODY = {
    "required": True,
    "content": {
        "application/octet-stream": {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "for each image its length (4 bytes, big-endian) and its bytes",
            }
        }
    },
}


def shown(description: str, problem: Problem) -> dict[str, Any]:
    """A problem as OpenAPI shows it."""
    content = {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "example": problem.model_dump(),
    }
    return {"description": description, "content": {protocol.PROBLEM_TYPE: content}}


def _refused(description: str, error: Exception) -> dict[str, Any]:
    """The problem that `error` becomes."""
    return shown(description, protocol.problem(error))


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _refused(
        "Not an image, or a corrupt one", NotAnImageError("no bytes: the image is empty")
    ),
    401: _refused(
        "No key, or one that nobody has, where the server asks for keys",
        UnauthorizedError("a key is needed: Authorization: Bearer KEY"),
    ),
    408: _refused(
        "The body did not arrive in time", LateBodyError("the body did not arrive within 60 s")
    ),
    413: _refused(
        "More bytes or pixels than the limits allow",
        ImageTooLargeError("10000x10000 pixels; at most 50,000,000 in all are accepted"),
    ),
    415: _refused(
        "An image of a format that is not accepted",
        UnsupportedFormatError("TIFF is not accepted; send JPEG, PNG, WEBP, GIF, BMP"),
    ),
    422: _refused(
        "A bad parameter",
        ParameterError("max_tags: Input should be greater than or equal to 1"),
    ),
    429: _refused(
        "The key's limit is reached; `Retry-After` says when to try again",
        RateLimitedError("uploads has used its limit; try again in 2 s", 2),
    ),
    503: _refused(
        "The queue is full; `Retry-After` says when to try again",
        OverloadedError("128 images are under way, as many as are admitted; try again"),
    ),
    504: _refused("The deadline passed", TimeoutError("not done within 10 s, the deadline")),
}
