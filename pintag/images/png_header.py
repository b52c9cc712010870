"""Walk through the chunks of a PNG file: its size, and the parts that its pixels need."""

from __future__ import annotations

import itertools
import struct
import zlib

from pintag.images.header import Budget, Header, HeaderEndsError, Part, append

_CHUNK = struct.Struct(">I4s")
# What Pillow needs for the pixels of the first picture, apart from tRNS. Everything else is
# metadata, which Pillow would unpack, limit and check: text, colour profiles and further frames
# never make decoding fail.
_NEEDED = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
# Worst-case nanoseconds of a core: for each pixel, with transparency; the same for 16-bit samples;
# for each byte.
_PIXEL_NS, _DEEP_PIXEL_NS, _BYTE_NS = 30.0, 80.0, 10.0
_GREY, _RGB, _PALETTE = 0, 2, 3
# The length of a tRNS chunk for each of these colour types; a palette has one byte for each colour.
_KEY_BYTES = {_GREY: 2, _RGB: 6}
# What Xcode makes of the pictures of an app: browsers and Pillow cannot read it.
_XCODE = "PNG of Xcode (CgBI)"


def read(data: bytes, budget: Budget) -> Header:
    """Read the header of a PNG file; see `header.read`.

    Raises:
        HeaderEndsError: the file does not begin with a whole image header.
        DecodingError: it has more chunks than the budget allows, and nobody reads on.
    """
    header = Header("PNG")
    if data[12:16] == b"CgBI":
        return Header(_XCODE)
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise HeaderEndsError
    header.size = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    parts: list[Part] = [(0, 8)]
    at, total, has_pixels = 8, len(data), False
    for number in itertools.count():
        if at + 8 > total:
            break
        if budget.ends(number, "PNG"):
            return header
        length, name = _CHUNK.unpack_from(data, at)
        end = at + 12 + length
        if name == b"tRNS":
            if not has_pixels and _is_sound(data, at, end):
                append(parts, at, end)
                header.colour_key = _colour_key(data, at)
        elif name in _NEEDED:
            has_pixels = has_pixels or name == b"IDAT"
            append(parts, at, end)
        elif name == b"eXIf" and not header.exif:
            header.exif = data[at + 8 : end - 4]
        at = end
        if name == b"IEND":
            break
    header.parts = parts
    pixel_ns = _DEEP_PIXEL_NS if data[24] > 8 else _PIXEL_NS
    header.cost_ns = pixel_ns * header.size[0] * header.size[1] + _BYTE_NS * total
    return header


def _is_sound(data: bytes, at: int, end: int) -> bool:
    """Whether a tRNS chunk fits the colour type and its checksum; libpng ignores any other."""
    length, colour = end - at - 12, data[25]
    fits = 0 < length <= 256 if colour == _PALETTE else length == _KEY_BYTES.get(colour)
    return fits and zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])


def _colour_key(data: bytes, at: int) -> tuple[int, ...] | None:
    """The transparent colour of grey or RGB samples, as 8 bits each; None for a palette.

    Pillow keeps the upper 8 bits of 16, and scales fewer than 8. It does not do so with this
    colour. Of RGB with 16 bits, colours that differ in the lower bits only are the same.
    """
    depth, colour = data[24], data[25]
    if colour == _PALETTE:
        return None
    samples = struct.unpack_from(f">{_KEY_BYTES[colour] // 2}H", data, at + 8)
    if depth == 16:
        return tuple(sample >> 8 for sample in samples)
    top = (1 << depth) - 1
    return tuple((sample & top) * 255 // top for sample in samples)
