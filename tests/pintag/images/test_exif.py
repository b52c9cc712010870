"""Apply the EXIF orientation, also when other parts of the EXIF are broken."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pintag.images.decoding import decode
from tests.pintag.images.encoded import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    corners,
    encode,
    exif,
    lenient,
    orientation,
    quarters,
)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("value", "upright"),
    [
        # The corners of `quarters` after the orientation is undone.
        (1, (RED, GREEN, BLUE, YELLOW)),
        (2, (GREEN, RED, YELLOW, BLUE)),
        (3, (YELLOW, BLUE, GREEN, RED)),
        (4, (BLUE, YELLOW, RED, GREEN)),
        (5, (RED, BLUE, GREEN, YELLOW)),
        (6, (BLUE, RED, YELLOW, GREEN)),
        (7, (YELLOW, GREEN, BLUE, RED)),
        (8, (GREEN, YELLOW, RED, BLUE)),
    ],
)
def test_exif_orientation_is_applied(form: str, value: int, upright: tuple[Any, ...]) -> None:
    data = encode(quarters(), form, exif=exif(orientation(value)), quality=95)
    pixels = decode(data)
    assert pixels.shape == ((32, 24, 3) if value > 4 else (24, 32, 3))
    for squeezed in (pixels, decode(data, 16)):
        for result, colour in zip(corners(squeezed), upright, strict=True):
            assert result == pytest.approx(colour, abs=6)


@lenient
@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0" + b"\xff" * 40,
        exif(orientation(0)),
        exif(orientation(9)),
        exif((0x112, 2, 2, b"6\0\0\0")),
        exif((0x112, 7, 4, b"\xff\xfe\0\1")),
        exif(orientation(1))[:16],
    ],
    ids=["empty", "noise", "zero", "nine", "text", "bytes", "cut off"],
)
def test_an_image_with_broken_exif_is_decoded(block: bytes) -> None:
    assert (decode(encode(quarters(), "PNG", exif=block)) == np.asarray(quarters())).all()
    assert decode(encode(quarters(), "JPEG", exif=block), 16).shape == (16, 16, 3)


@lenient
@pytest.mark.parametrize(
    "broken",
    [
        (0x010F, 99, 1, b"\0\0\0\0"),
        (0x010F, 2, 100, struct.pack("<I", 9999)),
        (0x8769, 4, 1, struct.pack("<I", 9999)),
        (0x8825, 11, 1, struct.pack("<f", 1.5)),
        (0x011A, 12, 1, struct.pack("<I", 9999)),
        (0x0100, 1, 2, b"\1\2\0\0"),
    ],
)
def test_orientation_is_applied_despite_a_broken_tag(
    broken: tuple[int, int, int, bytes],
) -> None:
    data = encode(quarters(), "JPEG", exif=exif(orientation(6), broken))
    assert decode(data).shape == (32, 24, 3)


@lenient
def test_orientation_is_applied_despite_random_damage_to_other_tags() -> None:
    tags = Image.Exif()
    tags[0x10F], tags[0x11A] = "Maker", 72.0
    tags.get_ifd(0x8769)[0x9286] = b"comment"
    tags.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    tags[0x112] = 6
    whole = tags.tobytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        block = bytearray(whole)
        # After the first directory, where the values and the other directories are stored.
        for at in rng.integers(100, len(block), 3):
            block[at] = rng.integers(256)
        image = encode(Image.new("RGB", (6, 4)), "JPEG", exif=bytes(block))
        assert decode(image).shape == (6, 4, 3)
