"""Walk through the chunks of a PNG file: its size, and the parts that its pixels need."""

from __future__ import annotations

import itertools
import struct

from pintag.data.image_head import Budget, Head, HeadEndsError, Part, append

_CHUNK = struct.Struct(">I4s")
# What Pillow needs for the pixels of the first picture. Everything else is metadata, which Pillow
# would unpack, limit and check: text, colour profiles and further frames never cost the pixels.
_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
# Worst-case nanoseconds of a core: for each pixel, with transparency; the same for 16-bit samples;
# for each byte.
_PIXEL_NS, _DEEP_PIXEL_NS, _BYTE_NS = 30.0, 80.0, 10.0


def read(data: bytes, budget: Budget) -> Head:
    """Read the head of a PNG file; see `image_head.read`.

    Raises:
        HeadEndsError: the file does not begin with a whole image header.
        DecodingError: it has more chunks than the budget allows, and nobody reads on.
    """
    head = Head("PNG")
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise HeadEndsError
    head.size = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    parts: list[Part] = [(0, 8)]
    at, total = 8, len(data)
    for number in itertools.count():
        if at + 8 > total:
            break
        if budget.ends(number, "PNG"):
            return head
        length, name = _CHUNK.unpack_from(data, at)
        end = at + 12 + length
        if name in _NEEDED:
            append(parts, at, end)
        elif name == b"eXIf" and not head.exif:
            head.exif = data[at + 8 : end - 4]
        at = end
        if name == b"IEND":
            break
    head.parts = parts
    pixel_ns = _DEEP_PIXEL_NS if data[24] > 8 else _PIXEL_NS
    head.cost_ns = pixel_ns * head.size[0] * head.size[1] + _BYTE_NS * total
    return head
