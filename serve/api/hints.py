"""Recognises a body that is not an image, and says what to send instead.

It runs only after an image was refused, so an image that is accepted never waits for it.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from pintag.core.errors import NotAnImageError, UnsupportedFormatError

_SEND = "send the bytes of the image themselves, as the body or as the multipart field 'image'"
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM")
# What the beginning of a JPEG and of a PNG become if bytes are read as a text and written as UTF-8.
_READ_AS_TEXT = (
    b"\xef\xbf\xbd\xef\xbf\xbd", b"\xef\xbf\xbdPNG", b"\xc3\xbf\xc3\x98\xc3\xbf", b"\xc2\x89PNG",
)  # fmt: skip
# The first bytes of a body are enough to recognise it. A batch may have 256 bodies, on an event
# loop.
_HEAD = 512


def explain(error: Exception, data: bytes, content_type: str) -> Exception:
    """The error that helps a client most with an image that was refused with `error`.

    Args:
        error: any error of a request; only a `NotAnImageError` may get a better one.
        data: the bytes that were sent as an image.
        content_type: the Content-Type of the request; empty if there is none.
    """
    if not isinstance(error, NotAnImageError) or not data:
        return error
    kind = content_type.partition(";")[0].strip().lower()
    if found := _other_format(data[:_HEAD], kind):
        return UnsupportedFormatError(f"{found}; {_SEND}")
    if data.startswith(_READ_AS_TEXT):
        return NotAnImageError(
            f"{error}; its bytes were read as a text, which changes them: read the file as bytes"
        )
    # curl -d drops them from a file, and nearly every picture has some.
    is_form = kind == "application/x-www-form-urlencoded"
    if is_form and _begins_like_a_picture(data) and not (b"\n" in data or b"\r" in data):
        return NotAnImageError(
            f"{error}; the body has no line ends: curl -d drops them, use --data-binary @FILE"
        )
    return error


def _other_format(head: bytes, kind: str) -> str:
    """What a body is, if it is one of the things that clients send by mistake; else empty."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if kind in ("application/json", "text/json") or re.match(rb"[{\[]\s*[\"'{\[\]}]", text):
        return "the body is JSON"
    if text[:5].lower() == b"data:":
        return "the body is a data URL"
    if re.match(rb"(?i)https?://", text):
        return "the body is the address of an image, which is not fetched"
    if _is_base64(text):
        return "the body is Base64 text"
    if re.match(rb"--[^\r\n]{1,70}\r?\nContent-Disposition:", text, re.IGNORECASE):
        return "the body is a multipart form, but Content-Type does not say so"
    if head.startswith(b"\x1f\x8b"):
        return "the body is compressed by gzip, but Content-Encoding does not say so"
    if re.fullmatch(rb"(?i)@?[^\0-\x1f]{1,250}\.(jpe?g|png|gif|webp|bmp|heic|avif)", text.rstrip()):
        return "the body is the name of a file"
    return ""


def _begins_like_a_picture(data: bytes) -> bool:
    return data.startswith(_MAGIC) or b"ftyp" in data[:12]


def _is_base64(text: bytes) -> bool:
    """Whether a text is an image in Base64, perhaps in quotes or as the value of a form's field."""
    value = re.sub(rb"^[\w\[\]%]{1,40}=(?=[\w/+%-])", b"", text.lstrip(b"\"'"), count=1)
    # Percent-encoded by a form, or not.
    match = re.match(rb"(?:[A-Za-z0-9+/_-]|%2[BbFf]){16}", value)
    if not match:
        return False
    letters = unquote_to_bytes(match[0]).translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return _begins_like_a_picture(base64.b64decode(letters))
    except binascii.Error:
        return False
