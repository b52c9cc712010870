"""Decode damaged images and random bytes: the result is an array or a PintagError."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pintag.core.errors import (
    PintagError,
)
from pintag.images.decoding import decode
from pintag.images.limits import ImageLimits
from tests.pintag.images.encoded import (
    encode,
    exif,
    lenient,
    orientation,
    png,
)


def valid_images() -> list[bytes]:
    """A small image of each kind that has its own decoder code."""
    noise = np.random.default_rng(0).integers(0, 256, (7, 9, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise)
    rgb, palette = rgba.convert("RGB"), rgba.convert("RGB").quantize(5)
    block = exif(orientation(6), (0x011A, 5, 1, struct.pack("<I", 20)))
    two = {"save_all": True, "append_images": [rgb.transpose(Image.Transpose.ROTATE_180)]}
    return [
        encode(rgb, "JPEG", exif=block),
        encode(rgb, "JPEG", progressive=True),
        encode(rgb.convert("CMYK"), "JPEG"),
        encode(rgb, "MPO", **two),
        encode(rgba, "PNG", exif=block),
        encode(palette, "PNG", transparency=0),
        encode(rgb, "PNG", **two),
        png((2, 1), 16, 0, b"\1\2\3\4", (b"tRNS", b"\1\2")),
        encode(palette, "GIF", transparency=0),
        encode(rgb, "GIF", **two),
        encode(rgb, "WEBP", exif=block),
        encode(rgba, "WEBP", lossless=True),
        encode(rgb, "WEBP", **two),
        encode(rgb, "BMP"),
        encode(palette, "BMP"),
        encode(rgba, "BMP"),
    ]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid image with bytes flipped, inserted, deleted, repeated or cut off."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 5))):
        # Headers are at the beginning, where damage has the largest effect.
        last = max(len(data) - 1, 0)
        at = draw(st.one_of(st.integers(0, min(last, 64)), st.integers(0, last)))
        match draw(st.sampled_from(["set", "insert", "delete", "repeat", "cut"])):
            case "set":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=16))
            case "delete":
                del data[at : at + draw(st.integers(1, 16))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
            case "cut":
                del data[at:]
    return bytes(data)


VALID = valid_images()


# A small limit, because a damaged header may declare any size below it.
FUZZ = ImageLimits(max_declared_pixels=2**20)


def check_total(data: bytes, size: int | None) -> None:
    """Check that the result is an array of the right shape or a PintagError."""
    try:
        pixels: npt.NDArray[Any] = decode(data, size, FUZZ)
    except PintagError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.size > 0
    assert size is None or pixels.shape == (size, size, 3)


def test_the_undamaged_images_are_valid() -> None:
    assert all(decode(data, limits=FUZZ).any() for data in VALID)


@lenient
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from([None, 8]))
def test_any_bytes_give_an_array_or_a_pintag_error(data: bytes, size: int | None) -> None:
    check_total(data, size)


@lenient
@settings(max_examples=600, deadline=None, derandomize=True)
@given(damaged(), st.sampled_from([None, 8]))
def test_a_damaged_image_gives_an_array_or_a_pintag_error(data: bytes, size: int | None) -> None:
    check_total(data, size)
