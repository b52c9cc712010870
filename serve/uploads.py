"""From a request's body to the encoded images in it, inside the limits on bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from pintag import wording
from pintag.errors import ImageTooLargeError
from serve.config import ImageConfig
from serve.protocol import LateBodyError, ParameterError

MULTIPART = "multipart/form-data"
FIELD = "image"


async def read(request: Request, config: ImageConfig) -> list[bytes]:
    """The raw body, or every file of the multipart field `image`, in order.

    Raises:
        ImageTooLargeError: the body is longer than its limit; most of it was not read.
        ParameterError: the field is missing, or is no file.
        HTTPException: the multipart body is malformed.
        LateBodyError: the body has not arrived within `body_seconds`.
        ClientDisconnect: the client left.
    """
    if not request.headers.get("content-type", "").lower().startswith(MULTIPART):
        return [await body(request.scope, request.receive, config)]
    async with _in_time(config):
        return await _files(_limited(request, config.max_request_bytes), config.max_images)


async def read_batch(request: Request, config: ImageConfig) -> list[bytes]:
    """The images of a body in which the length of each, 4 bytes big-endian, stands before it.

    Raises:
        ImageTooLargeError: the body is longer than its limit; most of it was not read.
        ParameterError: it ends within an image, or has no image, or too many.
        LateBodyError: the body has not arrived within `body_seconds`.
        ClientDisconnect: the client left.
    """
    content = await body(request.scope, request.receive, config, config.max_request_bytes)
    images: list[bytes] = []
    place = 0
    while place < len(content):
        end = place + 4 + int.from_bytes(content[place : place + 4])
        if end > len(content):
            raise ParameterError(f"the body ends within its image {len(images)}, counted from 0")
        images.append(content[place + 4 : end])
        if len(images) > config.max_images:
            many = wording.count(config.max_images, "image")
            raise ParameterError(f"at most {many} in a request: send more requests")
        place = end
    if not images:
        raise ParameterError("the body is empty; send images, each after its length")
    return images


async def body(
    scope: Scope, receive: Receive, config: ImageConfig, max_bytes: int | None = None
) -> bytes:
    """The whole body of a request, by default as long as an image may be; see `read`."""
    most = config.max_bytes if max_bytes is None else max_bytes
    _check_declared(scope, most)
    parts: list[bytes] = []
    seen = 0
    async with _in_time(config):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            seen += len(part)
            if seen > most:
                raise _too_large(most)
            parts.append(part)
            if not message.get("more_body", False):
                return part if len(parts) == 1 else b"".join(parts)


@asynccontextmanager
async def _in_time(config: ImageConfig) -> AsyncIterator[None]:
    seconds = config.body_seconds
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise LateBodyError(f"the body did not arrive within {seconds:g} s") from error


async def _files(request: Request, most: int) -> list[bytes]:
    try:
        async with aclosing(request.stream()) as body:
            parser = _Parser(request.headers, body, max_files=most, max_fields=most)
            form = await parser.parse()
    except MultiPartException as error:
        words = error.message
        if words.startswith("Too many files"):
            words = f"at most {wording.count(most, 'image')} in a request: send more requests"
        raise HTTPException(HTTPStatus.BAD_REQUEST, words) from error
    try:
        parts = form.getlist(FIELD)
        files = [await part.read() for part in parts if isinstance(part, UploadFile)]
    finally:
        await form.close()
    if not files or len(files) < len(parts):
        raise ParameterError(f"expected one or more files in the multipart field {FIELD!r}")
    return files


class _Parser(MultiPartParser):
    """Starlette's parser takes a body that breaks off for a whole one, less its last part."""

    _whole = False

    def on_end(self) -> None:
        self._whole = True

    async def parse(self) -> FormData:
        async with aclosing(self._checked(self.stream)) as self.stream:
            return await super().parse()

    async def _checked(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in stream:
            yield chunk
        if not self._whole:
            raise MultiPartException("the multipart body breaks off before its closing boundary")


def _limited(request: Request, max_bytes: int) -> Request:
    """The same request, whose body is refused as soon as it is too long, before it is all read."""
    _check_declared(request.scope, max_bytes)
    seen = 0

    async def receive() -> Message:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > max_bytes:
            raise _too_large(max_bytes)
        return message

    return Request(request.scope, receive)


def _check_declared(scope: Scope, max_bytes: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> ImageTooLargeError:
    return ImageTooLargeError(f"the body has more than {max_bytes:,} bytes, the limit")
