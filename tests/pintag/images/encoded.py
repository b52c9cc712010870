"""Draw and encode small images, including kinds that Pillow reads but cannot write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pintag.core import types

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
# Pillow warns about oddities of a file; in production, too, only the decoded image matters.
lenient = pytest.mark.filterwarnings("ignore")


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def quarters(width: int = 32, height: int = 24) -> Image.Image:
    """Red and green above blue and yellow."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image


def corners(pixels: types.Pixels) -> list[tuple[int, ...]]:
    """The colours in the middle of each quarter, in the order of `quarters`."""
    height, width, _ = pixels.shape
    positions = [(y, x) for y in (height // 4, -height // 4) for x in (width // 4, -width // 4)]
    return [tuple(int(value) for value in pixels[position]) for position in positions]


def smooth(width: int, height: int) -> Image.Image:
    """An image without edges: all methods of scaling give nearly the same result."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    channels = [np.sin(3 * x + y), np.cos(2 * y - x), np.sin(2 * x * y)]
    return Image.fromarray((127.5 + 127 * np.stack(channels, -1)).astype(np.uint8))


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(
    size: tuple[int, int], depth: int, colour: int, row: bytes, *extra: tuple[bytes, bytes]
) -> bytes:
    """A PNG of one row, for kinds that Pillow reads but cannot write."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of (tag, type, count, value) in little-endian order, without checks."""
    rows = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + rows + b"\0" * 4


def orientation(value: int) -> tuple[int, int, int, bytes]:
    return 0x112, 3, 1, struct.pack("<I", value)


ENCODED = {
    "JPEG": encode(quarters(), "JPEG", quality=95),
    "progressive JPEG": encode(quarters(), "JPEG", quality=95, progressive=True),
    "PNG": encode(quarters(), "PNG"),
    "interlaced PNG": encode(quarters(), "PNG", interlace=1),
    "WebP": encode(quarters(), "WEBP", quality=95),
    "lossless WebP": encode(quarters(), "WEBP", lossless=True),
    "GIF": encode(quarters(), "GIF"),
    "BMP": encode(quarters(), "BMP"),
    "MPO of two": encode(quarters(), "MPO", save_all=True, append_images=[quarters()], quality=95),
}
