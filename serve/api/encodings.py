"""Decodes the content encoding of a body: gzip, within a limit of bytes."""

from __future__ import annotations

import zlib

from pintag.serve.errors import EncodingError, MalformedBodyError

# RFC 1952: a file may have several members. Each costs a step in Python.
_MAX_MEMBERS = 16
# 16 more than the window's bits: zlib expects the head and the checksum of gzip.
_GZIP_WBITS = zlib.MAX_WBITS + 16


def names(header: str) -> list[str]:
    """The encodings in a Content-Encoding header, in the order in which they were applied.

    Raises:
        EncodingError: one of them, or their combination, is not accepted.
    """
    listed = [name.strip().lower() for name in header.split(",")]
    applied = [name for name in listed if name and name != "identity"]
    if not set(applied) <= {"gzip", "x-gzip"} or len(applied) > 1:
        raise EncodingError(
            f"Content-Encoding: {header[:60]!r} is not accepted; send the body as it is, or by gzip"
        )
    return applied


def gunzip(data: bytes, max_bytes: int) -> bytes | None:
    """The contents of a gzip file; None if there are more than `max_bytes` bytes of them.

    Never decompresses more than one byte above the limit.

    Raises:
        MalformedBodyError: the file is damaged, or ends early.
    """
    parts: list[bytes] = []
    room = max_bytes
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP_WBITS)
        try:
            part = member.decompress(data, room + 1)
        except zlib.error as error:
            raise MalformedBodyError("the body is not a gzip file, or is damaged") from error
        room -= len(part)
        if room < 0:
            return None
        parts.append(part)
        if not member.eof:
            raise MalformedBodyError("the gzip file in the body ends early")
        data = member.unused_data
        # Some programs pad the file with zeros.
        if not data.strip(b"\0"):
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise MalformedBodyError(f"the gzip file in the body has more than {_MAX_MEMBERS} members")
