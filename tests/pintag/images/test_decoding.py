"""Decode images: every format and mode gives the right pixels."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pintag.images.decoding import DEFAULT_LIMITS, EncodedImage, decode
from pintag.images.formats import FORMATS
from tests.pintag.images.encoded import (
    BLUE,
    ENCODED,
    GREEN,
    RED,
    WHITE,
    YELLOW,
    corners,
    encode,
    png,
    quarters,
    smooth,
)
from tests.pintag.images.hostile import jpeg_header, progressive_jpeg


@pytest.mark.parametrize("size", [None, 16])
@pytest.mark.parametrize("name", ENCODED)
def test_every_accepted_format_keeps_its_colours(name: str, size: int | None) -> None:
    pixels = decode(ENCODED[name], size)
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((size, size, 3) if size else (24, 32, 3))
    for result, colour in zip(corners(pixels), (RED, GREEN, BLUE, YELLOW), strict=True):
        assert result == pytest.approx(colour, abs=6)


def test_every_accepted_format_is_tested() -> None:
    tried = {Image.open(io.BytesIO(data)).format for data in ENCODED.values()}
    assert tried == {*FORMATS, "MPO"}


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_used(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (BLUE, RED, GREEN)]
    lossless = {"lossless": True} if form == "WEBP" else {}
    data = encode(frames[0], form, save_all=True, append_images=frames[1:], **lossless)
    with Image.open(io.BytesIO(data)) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert (decode(data) == BLUE).all()


def test_palette_colours_are_kept() -> None:
    image = quarters().quantize(4)
    for form in ("PNG", "GIF", "BMP"):
        assert corners(decode(encode(image, form))) == [RED, GREEN, BLUE, YELLOW]


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_is_white(form: str) -> None:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([*RED, *BLUE])
    image.paste(0, (0, 0, 2, 2))
    data = encode(image, form, transparency=0)
    assert decode(data)[0].tolist() == [list(WHITE)] * 2 + [list(BLUE)] * 2


def test_every_colour_of_a_palette_has_its_own_transparency() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *RED, *RED])
    image.putdata([0, 1, 2])
    data = encode(image, "PNG", transparency=bytes([255, 128, 0]))
    assert decode(data)[0].tolist() == [[255, 0, 0], [255, 127, 127], [255, 255, 255]]


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_rgba_is_blended_with_white(form: str) -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(0, 0, 255, 255), (0, 0, 255, 128), (0, 0, 255, 0)])
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    pixels = decode(encode(image, form, **options))
    assert pixels[0].tolist() == [[0, 0, 255], [127, 127, 255], [255, 255, 255]]


def test_grey_with_alpha_is_blended_with_white() -> None:
    image = Image.new("LA", (3, 1))
    image.putdata([(0, 255), (0, 128), (0, 0)])
    assert decode(encode(image, "PNG"))[0].tolist() == [[0] * 3, [127] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("size", "depth", "colour", "row", "key", "expected"),
    [
        ((2, 1), 8, 0, b"\x50\x64", b"\0\x64", [(80, 80, 80), WHITE]),
        ((2, 1), 8, 2, b"\x01\x02\x03\x04\x05\x06", b"\0\4\0\5\0\6", [(1, 2, 3), WHITE]),
        ((2, 1), 1, 0, b"\x40", b"\0\0", [WHITE, WHITE]),
        ((2, 1), 2, 0, b"\x60", b"\0\2", [(85, 85, 85), WHITE]),
        ((2, 1), 2, 0, b"\x60", b"\0\x55", [WHITE, (170, 170, 170)]),
        ((2, 1), 4, 0, b"\x5a", b"\0\x0a", [(85, 85, 85), WHITE]),
        ((2, 1), 16, 2, bytes(range(12)), b"\6\7\x08\x09\x0a\x0b", [(0, 2, 4), WHITE]),
        ((2, 1), 16, 0, b"\x50\x01\x64\x02", b"\x64\x02", [(80, 80, 80), WHITE]),
        ((2, 1), 16, 0, b"\x64\x01\x64\x02", b"\x64\x02", [(100, 100, 100), WHITE]),
    ],
    ids=[
        "grey",
        "RGB",
        "one bit",
        "two bits",
        "more bits than two",
        "four bits",
        "16-bit RGB",
        "16-bit grey",
        "16-bit grey but for the lower bits",
    ],
)
def test_the_transparent_colour_of_a_png_is_white(
    size: tuple[int, int],
    depth: int,
    colour: int,
    row: bytes,
    key: bytes,
    expected: list[tuple[int, ...]],
) -> None:
    data = png(size, depth, colour, row, (b"tRNS", key))
    assert [tuple(pixel) for pixel in decode(data)[0].tolist()] == expected


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
def test_grey_becomes_rgb(form: str) -> None:
    assert (decode(encode(Image.new("L", (8, 8), 77), form)) == 77).all()


@pytest.mark.parametrize("form", ["PNG", "BMP"])
def test_one_bit_images_become_black_and_white(form: str) -> None:
    image = Image.new("1", (9, 1))
    image.putpixel((4, 0), 1)
    assert decode(encode(image, form))[0, :, 0].tolist() == [0, 0, 0, 0, 255, 0, 0, 0, 0]


@pytest.mark.parametrize("size", [None, 8])
def test_a_red_cmyk_jpeg_stays_red(size: int | None) -> None:
    data = encode(Image.new("RGB", (64, 64), RED).convert("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "CMYK"
    assert np.abs(decode(data, size).astype(int) - RED).max() <= 3


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    samples = np.array([[0, 255, 256, 0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    data = encode(Image.fromarray(samples), "PNG")
    assert decode(data)[0].tolist() == [[v] * 3 for v in (0, 0, 1, 127, 128, 255)]
    assert decode(encode(Image.new("I;16", (40, 40), 0x8000), "PNG"), 8).max() == 128


def test_16_bit_colour_keeps_its_upper_bits() -> None:
    row = struct.pack(">6H", 0x1201, 0x80FF, 0xFFFF, 0, 0x0100, 0xFEFF)
    assert decode(png((2, 1), 16, 2, row))[0].tolist() == [[0x12, 0x80, 0xFF], [0, 1, 0xFE]]


def test_16_bit_alpha_is_blended_with_white() -> None:
    row = struct.pack(">8H", 0, 0, 0xFFFF, 0xFFFF, 0, 0, 0xFFFF, 0)
    assert decode(png((2, 1), 16, 6, row))[0].tolist() == [list(BLUE), list(WHITE)]


@pytest.mark.parametrize("shape", [(160, 120), (33, 333), (20, 10), (1, 1), (64, 64)])
def test_with_a_size_the_image_becomes_a_square(shape: tuple[int, int]) -> None:
    data = encode(smooth(*shape), "PNG")
    whole = smooth(*shape).resize((64, 64), Image.Resampling.BILINEAR)
    assert (decode(data, 64) == np.asarray(whole)).all()


@pytest.mark.parametrize("shape", [(1024, 768), (513, 700), (1025, 521), (150, 150)])
def test_a_jpeg_decoded_at_a_small_scale_equals_one_decoded_whole(shape: tuple[int, int]) -> None:
    data = encode(smooth(*shape), "JPEG", quality=95)
    whole = Image.fromarray(decode(data)).resize((64, 64), Image.Resampling.BILINEAR)
    difference = np.abs(decode(data, 64).astype(int) - np.asarray(whole))
    assert difference.max() <= 3
    assert difference.mean() < 0.5


def test_a_jpeg_is_not_decoded_whole_for_a_small_square() -> None:
    """Checked with fine detail, which only the scaled DCT averages per block."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    data = encode(Image.fromarray(noise), "JPEG", quality=100)
    means = noise.reshape(8, 8, 8, 8).mean(axis=(1, 3))
    whole = Image.fromarray(decode(data)).resize((8, 8), Image.Resampling.BILINEAR)
    assert np.abs(decode(data, 8)[..., 0] - means).max() < 2
    assert np.abs(np.asarray(whole)[..., 0] - means).max() > 5


def test_the_array_is_writable() -> None:
    pixels = decode(ENCODED["PNG"])
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    pixels[:] = 0
    assert decode(ENCODED["PNG"]).any()


def test_an_image_whose_head_does_not_tell_its_cost_counts_as_a_costly_one() -> None:
    """A progressive photograph for the web has more bytes than are searched for scans."""
    plain = EncodedImage(jpeg_header(4000, 3000))
    unknown = EncodedImage(progressive_jpeg(4000, 3000, 9) + bytes(2**18))
    assert 0.05 < plain.cost_s < 0.1
    assert 5 * plain.cost_s < unknown.cost_s < 20 * plain.cost_s


def test_an_image_costs_at_most_the_time_after_which_its_decoder_is_ended() -> None:
    limits = replace(DEFAULT_LIMITS, decode_timeout_s=0.01)
    assert EncodedImage(jpeg_header(4000, 3000), limits).cost_s == 0.01
