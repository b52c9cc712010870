"""Read the header of an image file of any format.

Only a bounded part of the file is read, so that a server can do it on its event loop. A header that
is not found there is not an error: the image is then decoded where it can be stopped.
"""

from __future__ import annotations

import itertools
import math
import re

from pintag.core.errors import NotAnImageError, UnsupportedFormatError
from pintag.images import formats, jpeg_header, png_header
from pintag.images.formats import FORMATS, OPTIONAL_FORMATS
from pintag.images.header import QUICK, Budget, Header, HeaderEndsError, damaged

# Worst-case nanoseconds of a core: for each pixel, with transparency; for each byte.
_PIXEL_NS, _BYTE_NS = 25.0, 10.0
# The same for a lossy WebP, without transparency and with it.
_LOSSY_PIXEL_NS, _ALPHA_PIXEL_NS, _LOSSY_BYTE_NS = 25.0, 40.0, 45.0
# In a VP8X chunk: the file has transparency.
_ALPHA_FLAG = 0x10
_MAX_BMP_COLOURS = 256
# A bitmap of run lengths, which Pillow decodes in Python: an end of line fills it pixel by pixel.
_RUN_LENGTHS, _RUN_PIXEL_NS, _RUN_BYTE_NS = (1, 2), 120.0, 250.0
# The property "image spatial extents" of HEIC and AVIF: version and flags, width, height.
_EXTENT = re.compile(rb"ispe\0{4}(.{4})(.{4})", re.DOTALL)
_EXTENT_BYTES, _MAX_EXTENTS = 2**16, 64


def read(data: bytes, budget: Budget = QUICK, *, heif: bool = True) -> Header:
    """Read the header of an image file.

    Args:
        data: the whole file.
        budget: how much of the file is read.
        heif: whether HEIC and AVIF are accepted where their decoders are installed.

    Raises:
        UnsupportedFormatError: an image of a format that is not accepted.
        NotAnImageError: the file is not an image, or ends in its header.
        DecodingError: no program writes so much before or between the pixels.
    """
    name = formats.recognise(data)
    if name is None:
        raise _not_an_image(data, heif)
    if name in OPTIONAL_FORMATS and heif and formats.has_decoder(name):
        return _read_heif(name, data)
    if name not in FORMATS:
        raise unsupported(name, heif)
    try:
        header = _READERS[name](data, budget)
    except (HeaderEndsError, IndexError):
        raise damaged(name, "the file ends in its header") from None
    # A kind of the format that no decoder reads.
    if header.format not in FORMATS:
        raise unsupported(header.format, heif)
    return header


def _not_an_image(data: bytes, heif: bool) -> NotAnImageError:
    """The error for content in which no format is recognised."""
    if name := formats.begun(data):
        return damaged(name, f"the file has only {len(data)} bytes")
    accepted = ", ".join(formats.accepted(heif))
    return NotAnImageError(f"not an image, or a corrupt one; send {accepted}")


def unsupported(name: str, heif: bool = True) -> UnsupportedFormatError:
    """The error for an image of another format."""
    accepted = ", ".join(formats.accepted(heif))
    return UnsupportedFormatError(f"{name} is not accepted; send {accepted}")


def _read_heif(name: str, data: bytes) -> Header:
    """The largest of the declared sizes: a photograph is a grid of tiles, with a thumbnail."""
    found = itertools.islice(_EXTENT.finditer(data, 0, _EXTENT_BYTES), _MAX_EXTENTS)
    sizes = [(int.from_bytes(each[1]), int.from_bytes(each[2])) for each in found]
    return Header(name, max(sizes, key=lambda size: size[0] * size[1], default=None))


def _read_webp(data: bytes, budget: Budget) -> Header:
    # libwebp reads the chunks of the file in C; the first one has the size.
    kind = data[12:16]
    if kind == b"VP8X":
        size = _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
    elif kind == b"VP8L":
        bits = _little(data, 21, 4)
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        size = _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    else:
        raise HeaderEndsError
    if kind == b"VP8L":
        return _whole("WEBP", size, data)
    is_transparent = kind == b"VP8X" and data[20] & _ALPHA_FLAG
    pixel_ns = _ALPHA_PIXEL_NS if is_transparent else _LOSSY_PIXEL_NS
    return _whole("WEBP", size, data, pixel_ns, _LOSSY_BYTE_NS)


def _read_bmp(data: bytes, budget: Budget) -> Header:
    if _little(data, 14, 4) in (12, 16):
        return _whole("BMP", (_little(data, 18, 2), _little(data, 20, 2)), data)
    # A negative height means that the rows are stored from top to bottom.
    height = abs(int.from_bytes(data[22:26], "little", signed=True))
    size, compression = (_little(data, 18, 4), height), _little(data, 30, 4)
    if size[0] >= 2**31:
        raise damaged("BMP", "its width is negative")
    if compression in _RUN_LENGTHS:
        header = _whole("BMP", size, data, _RUN_PIXEL_NS, _RUN_BYTE_NS)
        header.is_read_in_python = True
        return header
    header = _whole("BMP", size, data)
    # Pillow reads large palettes in Python, too, and refuses those of more than 65,536 colours.
    if compression not in (0, 3) or _little(data, 46, 4) > _MAX_BMP_COLOURS:
        header.cost_ns = math.inf
    return header


def _read_gif(data: bytes, budget: Budget) -> Header:
    """The larger of the screen and the first frame: Pillow enlarges the screen to the frame."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    blocks = 0
    while data[at] == 0x21:
        # An extension: its label, then blocks of at most 255 bytes, then an empty one.
        at += 2
        while data[at]:
            at += 1 + data[at]
            blocks += 1
            if budget.ends(blocks, "GIF"):
                return Header("GIF")
        at += 1
        blocks += 1
        if budget.ends(blocks, "GIF"):
            return Header("GIF")
    if data[at] != 0x2C:
        return Header("GIF")
    right = _little(data, at + 1, 2) + _little(data, at + 5, 2)
    bottom = _little(data, at + 3, 2) + _little(data, at + 7, 2)
    return _whole("GIF", (max(right, _little(data, 6, 2)), max(bottom, _little(data, 8, 2))), data)


def _whole(
    name: str,
    size: tuple[int, int],
    data: bytes,
    pixel_ns: float = _PIXEL_NS,
    byte_ns: float = _BYTE_NS,
) -> Header:
    cost = pixel_ns * size[0] * size[1] + byte_ns * len(data)
    return Header(name, size, parts=[(0, len(data))], cost_ns=cost)


def _little(data: bytes, at: int, count: int) -> int:
    if at + count > len(data):
        raise HeaderEndsError
    return int.from_bytes(data[at : at + count], "little")


_READERS = {
    "JPEG": jpeg_header.read,
    "PNG": png_header.read,
    "WEBP": _read_webp,
    "GIF": _read_gif,
    "BMP": _read_bmp,
}
