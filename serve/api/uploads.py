"""Reads the encoded images in the body of a request, within limits on size and time.

Everything stays in memory, within the limits: nothing is written to a temporary folder.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from pintag.core.errors import ImageTooLargeError
from pintag.serve.api import encodings, multipart, parameters
from pintag.serve.deployment_config import ImageConfig
from pintag.serve.errors import LateBodyError, MalformedBodyError, ParameterError

T = TypeVar("T")
P = TypeVar("P", bound=BaseModel)
_LENGTH_BYTES = 4
# A longer batch is divided in a thread: on the event loop it would delay other requests.
_MAX_LOOP_BYTES = 256 * 1024
# More digits than a length can have. Python refuses to convert thousands of digits.
_MAX_DIGITS = 18


@dataclass(frozen=True)
class Upload:
    """The body of a request: its images, and the other fields of a form."""

    images: list[bytes]
    fields: tuple[tuple[str, str], ...] = ()


async def read_request(
    request: Request, config: ImageConfig, model: type[P]
) -> tuple[list[bytes], P]:
    """The images and the parameters of a request, which may be in its query or in its form.

    Raises:
        ParameterError: a parameter is wrong. That of a query is refused before the body is read.
        Exception: see `read`.
    """
    query = request.scope["query_string"]
    parameters.read(model, query)
    upload = await read(request, config)
    return upload.images, parameters.read(model, query, upload.fields)


async def read(request: Request, config: ImageConfig) -> Upload:
    """The raw body, or the images and other fields of a multipart body.

    Raises:
        ImageTooLargeError: the body exceeds its limit; reading stopped there.
        ParameterError: there is no image in the form, or too many.
        MalformedBodyError: the body breaks the rules of its format or encoding.
        EncodingError: the content encoding is not accepted.
        LateBodyError: the body did not arrive within `body_timeout_s`.
        ClientDisconnect: the client closed the connection.
    """
    content_type = _content_type(request.scope)
    if not is_multipart(content_type):
        return Upload([await _read_decoded(request, config, config.max_bytes)])
    body = await _read_decoded(request, config, config.max_request_bytes)
    is_short = multipart.is_short(content_type, body)
    form = await _off_loop(is_short, lambda: multipart.parse(content_type, body, config.max_images))
    return Upload(form.images, tuple(form.fields))


async def read_batch(request: Request, config: ImageConfig) -> list[bytes]:
    """The images of a batch, in order. Before each image comes its length (4 bytes, big-endian).

    Raises:
        ImageTooLargeError: the body exceeds its limit; reading stopped there.
        ParameterError: the body ends inside an image, or has no images, or too many.
        MalformedBodyError: the body breaks the rules of its encoding.
        EncodingError: the content encoding is not accepted.
        LateBodyError: the body did not arrive within `body_timeout_s`.
        ClientDisconnect: the client closed the connection.
    """
    if is_multipart(_content_type(request.scope)):
        raise ParameterError("the body is a form; send it to /v1/tags, which reads several images")
    body = await _read_decoded(request, config, config.max_request_bytes)
    is_short = len(body) <= _MAX_LOOP_BYTES
    return await _off_loop(is_short, lambda: _split(body, config.max_images))


async def read_body(scope: Scope, receive: Receive, config: ImageConfig, max_bytes: int) -> bytes:
    """The whole body of a request, as it was sent.

    Raises:
        ImageTooLargeError: the body has more than `max_bytes` bytes; reading stopped there.
        LateBodyError: the body did not arrive within `body_timeout_s`.
        ClientDisconnect: the client closed the connection.
    """
    room = _content_length(scope, max_bytes)
    body: io.BytesIO | None = None
    count = 0
    async with _time_limit(config.body_timeout_s):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part: bytes = message.get("body", b"")
            is_last = not message.get("more_body", False)
            if count + len(part) > max_bytes:
                raise _too_large(max_bytes)
            if is_last and not count:
                return part
            # A growing buffer would be copied, and copying 64 MiB holds up the event loop. The
            # kernel gives memory to what has been written only.
            body = body or io.BytesIO(bytes(room))
            count += body.write(part)
            if is_last:
                body.truncate(count)
                # Without a copy: nothing else refers to the buffer's bytes.
                return body.getvalue()


def header(scope: Scope, name: bytes) -> str:
    """The value of a header; several lines are one list (RFC 9110, 5.3). Empty if there is none."""
    values = [value for key, value in scope["headers"] if key == name]
    return b", ".join(values).decode("latin-1")


def is_multipart(content_type: str) -> bool:
    """Whether a body of this media type is a form."""
    return content_type.lower().lstrip().startswith(multipart.MEDIA_TYPE)


def _content_type(scope: Scope) -> str:
    """The Content-Type of a request; empty if there is none.

    Raises:
        MalformedBodyError: there are several.
    """
    values = {value for name, value in scope["headers"] if name == b"content-type"}
    if len(values) > 1:
        raise MalformedBodyError("Content-Type is given more than once; give one")
    return values.pop().decode("latin-1") if values else ""


async def _read_decoded(request: Request, config: ImageConfig, max_bytes: int) -> bytes:
    """The whole body of a request without its content encoding, of at most `max_bytes` bytes."""
    encoded_by = encodings.names(header(request.scope, b"content-encoding"))
    body = await read_body(request.scope, request.receive, config, max_bytes)
    if not encoded_by:
        return body
    # In a thread whatever its size: 64 KiB may become 64 MiB.
    contents = await asyncio.to_thread(encodings.gunzip, body, max_bytes)
    if contents is None:
        raise _too_large(max_bytes)
    return contents


async def _off_loop(is_short: bool, parse: Callable[[], T]) -> T:
    """Parse a body; one that is not short in a thread."""
    return parse() if is_short else await asyncio.to_thread(parse)


def _split(body: bytes, max_images: int) -> list[bytes]:
    """The images of a batch."""
    images: list[bytes] = []
    offset = 0
    while offset < len(body):
        start = offset + _LENGTH_BYTES
        end = start + int.from_bytes(body[offset:start])
        if end > len(body):
            raise ParameterError(f"the body ends inside image {len(images)}, counted from 0")
        images.append(bytes(memoryview(body)[start:end]))
        if len(images) > max_images:
            raise ParameterError(multipart.too_many(max_images))
        offset = end
    if not images:
        raise ParameterError("the body is empty; send each image after its length")
    return images


@asynccontextmanager
async def _time_limit(seconds: float) -> AsyncIterator[None]:
    """Raise a LateBodyError if the body takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise LateBodyError(f"the body did not arrive within {seconds:g} s") from error


def _content_length(scope: Scope, max_bytes: int) -> int:
    """The bytes that the body has at most.

    Raises:
        ImageTooLargeError: the head promises more than `max_bytes`.
    """
    for name, value in scope["headers"]:
        if name != b"content-length" or not value.isdigit():
            continue
        if len(value) > _MAX_DIGITS or int(value) > max_bytes:
            raise _too_large(max_bytes)
        return int(value)
    return max_bytes


def _too_large(max_bytes: int) -> ImageTooLargeError:
    return ImageTooLargeError(f"the body exceeds the limit of {max_bytes:,} bytes")
