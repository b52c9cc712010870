"""Parses a multipart body that is in memory: its images, and its other fields."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from werkzeug.http import parse_options_header

from pintag.core import formatting
from pintag.serve.errors import MalformedBodyError, ParameterError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MEDIA_TYPE = "multipart/form-data"
FIELD = "image"
# The names under which clients send images: some add brackets, or a number, to those of several.
_IMAGE_FIELD = re.compile(r"(image|file)s?(\[\d*\])?")
# Some clients do not quote a boundary with characters that need it, such as `----=_Part_1`.
_UNQUOTED = re.compile(r";\s*boundary=([^\s\";,]+)\s*(?:;|$)", re.IGNORECASE)
_MAX_FIELDS = 64
# Browsers send two headers with a part; some clients add their own.
_MAX_HEADERS, _MAX_HEADER_BYTES = 32, 8192
_MAX_VALUE_BYTES = 4096
# RFC 2046, 5.1.1: a boundary has at most 70 characters. Parsing takes 0.3 µs for each byte.
_MAX_TYPE_BYTES = 1024
# Most clients that break the boundary have written the header themselves.
_LEAVE = "leave this header to the HTTP library"
# One part with as many and as long headers as are accepted takes 3 ms, and its content 1 ms.
_SHORT_BYTES, _SHORT_BOUNDARIES = 2**18, 2


@dataclass
class Form:
    """The contents of a multipart body."""

    images: list[bytes] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    """The names and values of all other fields, files too; the end of a long value is cut off."""


def is_short(content_type: str, body: bytes) -> bool:
    """Whether a body may be parsed on an event loop: few bytes, and one part.

    Raises:
        MalformedBodyError: the Content-Type has no boundary.
    """
    delimiter = _delimiter(content_type)
    return len(body) <= _SHORT_BYTES and body.count(delimiter) <= _SHORT_BOUNDARIES


def parse(content_type: str, body: bytes, max_images: int) -> Form:
    """The images and the other fields of a body, in order.

    An image is the content of a field `image` or `file`, whether or not it has a file name. A file
    input of a page that nobody has filled in is ignored if there is an image.

    Raises:
        MalformedBodyError: the body is not a complete multipart body.
        ParameterError: there is no image, or there are too many.
    """
    delimiter = _delimiter(content_type)
    start = _start(body, delimiter)
    reader = _Reader(max_images)
    try:
        parser = MultipartParser(
            delimiter[2:],
            reader.callbacks,
            max_header_count=_MAX_HEADERS,
            max_header_size=_MAX_HEADER_BYTES,
        )
        parser.write(body[start:] if start else body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        has_lf_only = body[start + len(delimiter) :].startswith(b"\n")
        reason = "the lines of a form end with CR LF, not with LF alone" if has_lf_only else error
        raise MalformedBodyError(f"Invalid multipart data: {reason}") from error
    if not reader.is_complete:
        raise MalformedBodyError("the multipart body ends before its closing boundary")
    return reader.form()


def _delimiter(content_type: str) -> bytes:
    """What stands between the parts of a body: its boundary after two hyphens."""
    if len(content_type) > _MAX_TYPE_BYTES:
        raise MalformedBodyError(f"Content-Type has more than {_MAX_TYPE_BYTES} characters")
    if unquoted := _UNQUOTED.search(content_type):
        boundary = unquoted[1]
    else:
        boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise MalformedBodyError(f"Content-Type has no boundary, which a form needs; {_LEAVE}")
    try:
        return b"--" + boundary.encode("latin-1")
    except UnicodeEncodeError as error:
        raise MalformedBodyError(f"Invalid multipart data: {error}") from error


def _start(body: bytes, delimiter: bytes) -> int:
    """Where the first boundary is; what stands before it is to be ignored (RFC 2046, 5.1.1).

    Raises:
        MalformedBodyError: there is none.
    """
    if not body or body.startswith(delimiter):
        return 0
    line = body.find(b"\r\n" + delimiter)
    start = line + 2 if line >= 0 else body.find(delimiter)
    if start < 0:
        raise MalformedBodyError(
            "Invalid multipart data: the boundary that Content-Type names is not in the body; "
            + _LEAVE
        )
    return start


class _Reader:
    """The callbacks of the parser. They only collect: no file is written."""

    def __init__(self, max_images: int) -> None:
        self.is_complete = False
        self._max_images = max_images
        self._form = Form()
        self._others: list[str] = []
        self._has_empty_input = False
        self._header_name, self._header_value = b"", b""
        self._disposition = ""
        self._content: list[bytes] = []
        self.callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add_content,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def form(self) -> Form:
        """What was read.

        Raises:
            ParameterError: there is no image.
        """
        if not self._form.images and self._has_empty_input:
            self._form.images.append(b"")
        if not self._form.images:
            found = f", found {', '.join(map(repr, self._others[:5]))}" if self._others else ""
            raise ParameterError(
                f"expected one or more files in the multipart field {FIELD!r}{found}"
            )
        return self._form

    def _begin(self) -> None:
        self._disposition, self._content = "", []

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            # The name of a file has no meaning here, whatever its bytes are.
            self._disposition = self._header_value.decode("utf-8", "replace")
        self._header_name, self._header_value = b"", b""

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        self._content.append(bytes(memoryview(data)[start:end]))

    def _end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if "name" not in options:
            raise MalformedBodyError('each part needs a Content-Disposition with a "name"')
        name = options["name"]
        content = self._content[0] if len(self._content) == 1 else b"".join(self._content)
        if not _IMAGE_FIELD.fullmatch(name):
            # Some clients send each field as a file, parameters too.
            self._add_field(name, content)
        elif not content and options.get("filename") == "":
            self._has_empty_input = True
        else:
            self._add_image(content)

    def _add_image(self, content: bytes) -> None:
        if len(self._form.images) == self._max_images:
            raise ParameterError(too_many(self._max_images))
        self._form.images.append(content)

    def _add_field(self, name: str, content: bytes) -> None:
        value = content[:_MAX_VALUE_BYTES].decode("utf-8", "replace")
        # No parameter is as long, or ends like this, so one is refused; others are ignored anyway.
        cut_off = "…" if len(content) > _MAX_VALUE_BYTES else ""
        self._form.fields.append((name, value + cut_off))
        self._others.append(name[:60])
        if len(self._others) > _MAX_FIELDS:
            raise MalformedBodyError(f"the form has more than {_MAX_FIELDS} fields beside images")

    def _finish(self) -> None:
        self.is_complete = True


def too_many(max_images: int) -> str:
    """The message for a request of more images than `max_images`."""
    images = formatting.count(max_images, "image")
    return f"at most {images} in a request are accepted; send several requests"
