"""Small files that cost a decoder much."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from pintag.core.types import Pixels
from pintag.images.decoder_pool import DecoderPool
from pintag.images.limits import ImageLimits
from tests.pintag.images.encoded import chunk, png


def progressive_jpeg(width: int, height: int, scans: int) -> bytes:
    """A grey JPEG with many scans of some 30 bytes; each is a pass over all coefficients."""

    def segment(marker: int, content: bytes) -> bytes:
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content

    def bits(text: str) -> bytes:
        text += "1" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8).replace(b"\xff", b"\xff\0")

    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    header = (
        b"\xff\xd8"
        + segment(0xDB, b"\0" + bytes([1] * 64))
        + segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00")
        + segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\x00")
        + segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0")
    )
    start = b"\xff\xda" + struct.pack(">H", 8) + b"\x01\x01\x00"
    scan = start + bytes([1, 63, 0x10]) + bits(("0" + "1" * 14) * -(-blocks // 32767))
    return header + start + bytes(3) + bits("0" * blocks) + scan * (scans - 1) + b"\xff\xd9"


def slow_jpeg() -> bytes:
    """A JPEG within all limits that takes a second or so of a core."""
    return progressive_jpeg(6000, 6000, 100)


def png_of_empty_chunks(count: int) -> bytes:
    """One pixel behind many empty chunks."""
    return png((1, 1), 8, 2, b"\1\2\3").replace(
        chunk(b"IEND", b""), chunk(b"teSt", b"") * count + chunk(b"IEND", b"")
    )


def run_length_bitmap(width: int, height: int, runs: bytes, palette: bytes = bytes(1024)) -> bytes:
    """A BMP of 8 bits whose pixels are compressed (RLE8)."""
    start = 54 + len(palette)
    file = struct.pack("<IHHI", start + len(runs), 0, 0, start)
    colours = len(palette) // 4
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, colours, colours
    )
    return b"BM" + file + info + palette + runs


def wide_webp(width: int, height: int) -> bytes:
    """The header of a WebP file: what it declares."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_header(width: int, height: int) -> bytes:
    """A baseline JPEG of three components, without the entropy-coded data."""
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\1\x22\0\2\x11\0\3\x11\0"
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda" + struct.pack(">HB", 12, 3) + bytes(9)


def limit_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every image 0.1 s of a processor, whatever its caller allows: less than `slow_jpeg`
    takes, and more than a small picture."""
    decode = DecoderPool.decode

    def decode_shortly(
        pool: DecoderPool,
        data: bytes,
        limits: ImageLimits,
        size: int | None = None,
        longest: int | None = None,
    ) -> Pixels:
        return decode(pool, data, replace(limits, decode_timeout_s=0.1), size, longest)

    monkeypatch.setattr(DecoderPool, "decode", decode_shortly)
