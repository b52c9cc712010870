"""From a request's body to the encoded images in it, inside the limits on bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Message

from pintag import wording
from pintag.errors import ImageTooLargeError
from serve.config import ImageConfig
from serve.protocol import ParameterError

MULTIPART = "multipart/form-data"
FIELD = "image"
# A body that does not come holds one of the replica's places all the same.
SECONDS = 60.0


async def read(request: Request, config: ImageConfig) -> list[bytes]:
    """The raw body, or every file of the multipart field `image`, in order.

    Raises:
        ImageTooLargeError: the body is longer than its limit; most of it was not read.
        ParameterError: the field is missing, or is no file.
        HTTPException: the multipart body is malformed.
        TimeoutError: the body has not arrived within `SECONDS`.
    """
    try:
        async with asyncio.timeout(SECONDS):
            if not request.headers.get("content-type", "").lower().startswith(MULTIPART):
                return [await _limited(request, config.max_bytes).body()]
            return await _files(_limited(request, config.max_request_bytes), config.max_images)
    except TimeoutError as error:
        raise TimeoutError(f"the body did not arrive within {SECONDS:g} s") from error


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
    too_large = ImageTooLargeError(f"the body has more than {max_bytes:,} bytes, the limit")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise too_large
    seen = 0

    async def receive() -> Message:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > max_bytes:
            raise too_large
        return message

    return Request(request.scope, receive)
