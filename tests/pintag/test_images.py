"""Decoding: every format and mode to the right pixels, every other byte string to a PintagError."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pintag import images
from pintag.errors import (
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    PintagError,
    UnsupportedFormatError,
)
from pintag.images import Limits, decode, read

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
# Pillow warns of what it finds odd, in production to a log that nobody reads; what counts there is
# the picture, and here too.
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


def corners(pixels: images.Pixels) -> list[tuple[int, ...]]:
    """The colours in the middle of each quarter, in the order of `quarters`."""
    height, width, _ = pixels.shape
    places = [(y, x) for y in (height // 4, -height // 4) for x in (width // 4, -width // 4)]
    return [tuple(int(value) for value in pixels[place]) for place in places]


def smooth(width: int, height: int) -> Image.Image:
    """A picture without edges, which scales to the same whichever way it is scaled."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    channels = [np.sin(3 * x + y), np.cos(2 * y - x), np.sin(2 * x * y)]
    return Image.fromarray((127.5 + 127 * np.stack(channels, -1)).astype(np.uint8))


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(
    size: tuple[int, int], depth: int, colour: int, row: bytes, *extra: tuple[bytes, bytes]
) -> bytes:
    """A PNG of one row by hand: what Pillow reads but does not write."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of (tag, type, count, value) in little-endian order, nothing checked."""
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


@pytest.mark.parametrize("size", [None, 16])
@pytest.mark.parametrize("name", ENCODED)
def test_every_accepted_format_keeps_its_colours(name: str, size: int | None) -> None:
    pixels = decode(ENCODED[name], size)
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((size, size, 3) if size else (24, 32, 3))
    for found, colour in zip(corners(pixels), (RED, GREEN, BLUE, YELLOW), strict=True):
        assert found == pytest.approx(colour, abs=6)


def test_every_format_of_the_module_is_tried_above() -> None:
    tried = {Image.open(io.BytesIO(data)).format for data in ENCODED.values()}
    assert tried == {*images.FORMATS, "MPO"}


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (BLUE, RED, GREEN)]
    lossless = {"lossless": True} if form == "WEBP" else {}
    data = encode(frames[0], form, save_all=True, append_images=frames[1:], **lossless)
    with Image.open(io.BytesIO(data)) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert (decode(data) == BLUE).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("value", "upright"),
    [
        # What the corners of `quarters` become when the orientation is undone.
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
def test_exif_orientation_is_undone(form: str, value: int, upright: tuple[Any, ...]) -> None:
    data = encode(quarters(), form, exif=exif(orientation(value)), quality=95)
    pixels = decode(data)
    assert pixels.shape == ((32, 24, 3) if value > 4 else (24, 32, 3))
    for squeezed in (pixels, decode(data, 16)):
        for found, colour in zip(corners(squeezed), upright, strict=True):
            assert found == pytest.approx(colour, abs=6)


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
def test_broken_exif_does_not_cost_the_picture(block: bytes) -> None:
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
def test_one_broken_exif_tag_leaves_the_orientation(broken: tuple[int, int, int, bytes]) -> None:
    data = encode(quarters(), "JPEG", exif=exif(orientation(6), broken))
    assert decode(data).shape == (32, 24, 3)


@lenient
def test_an_orientation_survives_random_damage_to_the_other_tags() -> None:
    tags = Image.Exif()
    tags[0x10F], tags[0x11A] = "Maker", 72.0
    tags.get_ifd(0x8769)[0x9286] = b"comment"
    tags.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    tags[0x112] = 6
    whole = tags.tobytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        block = bytearray(whole)
        # Behind the first directory, where the values and the other directories lie.
        for at in rng.integers(100, len(block), 3):
            block[at] = rng.integers(256)
        image = encode(Image.new("RGB", (6, 4)), "JPEG", exif=bytes(block))
        assert decode(image).shape == (6, 4, 3)


def test_palette() -> None:
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
def test_rgba_lies_on_white(form: str) -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(0, 0, 255, 255), (0, 0, 255, 128), (0, 0, 255, 0)])
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    pixels = decode(encode(image, form, **options))
    assert pixels[0].tolist() == [[0, 0, 255], [127, 127, 255], [255, 255, 255]]


def test_grey_with_alpha_lies_on_white() -> None:
    image = Image.new("LA", (3, 1))
    image.putdata([(0, 255), (0, 128), (0, 0)])
    assert decode(encode(image, "PNG"))[0].tolist() == [[0] * 3, [127] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("size", "depth", "colour", "row", "key", "expected"),
    [
        ((2, 1), 8, 0, b"\x50\x64", b"\0\x64", [(80, 80, 80), WHITE]),
        ((2, 1), 8, 2, b"\x01\x02\x03\x04\x05\x06", b"\0\4\0\5\0\6", [(1, 2, 3), WHITE]),
        ((2, 1), 1, 0, b"\x40", b"\0\0", [WHITE, WHITE]),
        ((2, 1), 16, 0, b"\x50\x01\x64\x02", b"\x64\x02", [(80, 80, 80), WHITE]),
        ((2, 1), 16, 0, b"\x64\x01\x64\x02", b"\x64\x02", [(100, 100, 100), WHITE]),
    ],
    ids=["grey", "RGB", "one bit", "16-bit grey", "16-bit grey but for the lower bits"],
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
def test_grey(form: str) -> None:
    assert (decode(encode(Image.new("L", (8, 8), 77), form)) == 77).all()


@pytest.mark.parametrize("form", ["PNG", "BMP"])
def test_one_bit(form: str) -> None:
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


def test_16_bit_alpha_lies_on_white() -> None:
    row = struct.pack(">8H", 0, 0, 0xFFFF, 0xFFFF, 0, 0, 0xFFFF, 0)
    assert decode(png((2, 1), 16, 6, row))[0].tolist() == [list(BLUE), list(WHITE)]


@pytest.mark.parametrize("shape", [(160, 120), (33, 333), (20, 10), (1, 1), (64, 64)])
def test_with_a_size_the_picture_is_squeezed_to_a_square(shape: tuple[int, int]) -> None:
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
    """Seen by fine detail, of which the scaled transform makes the mean of a block, no other."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    data = encode(Image.fromarray(noise), "JPEG", quality=100)
    means = noise.reshape(8, 8, 8, 8).mean(axis=(1, 3))
    whole = Image.fromarray(decode(data)).resize((8, 8), Image.Resampling.BILINEAR)
    assert np.abs(decode(data, 8)[..., 0] - means).max() < 2
    assert np.abs(np.asarray(whole)[..., 0] - means).max() > 5


def test_the_array_is_the_callers_own() -> None:
    pixels = decode(ENCODED["PNG"])
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    pixels[:] = 0
    assert decode(ENCODED["PNG"]).any()


def test_more_bytes_than_the_limit_are_refused() -> None:
    data = ENCODED["PNG"]
    assert decode(data, limits=Limits(max_bytes=len(data))).shape == (24, 32, 3)
    with pytest.raises(ImageTooLargeError, match=f"{len(data)} bytes; at most {len(data) - 1} "):
        decode(data, limits=Limits(max_bytes=len(data) - 1))


@pytest.mark.parametrize("size", [None, 8])
@pytest.mark.parametrize("name", ENCODED)
def test_more_pixels_than_the_limit_are_refused(name: str, size: int | None) -> None:
    assert decode(ENCODED[name], size, Limits(max_pixels=32 * 24)).any()
    with pytest.raises(ImageTooLargeError, match="32x24 pixels; at most 767 in all"):
        decode(ENCODED[name], size, Limits(max_pixels=32 * 24 - 1))


@lenient
@pytest.mark.parametrize("side", [8_000, 12_000, 100_000])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    # Above our limit; above where Pillow warns; above where Pillow refuses. None has any pixels,
    # so what would decode first would call it corrupt.
    with pytest.raises(ImageTooLargeError, match="at most 50,000,000"):
        decode(png((side, side), 8, 2, b""))


def test_a_bomb_that_pillow_only_warns_of_is_refused_where_warnings_are_errors() -> None:
    with pytest.raises(ImageTooLargeError, match="at most 50,000,000"):
        decode(png((12_000, 12_000), 8, 2, b""))


def test_a_gif_frame_larger_than_its_screen_is_refused() -> None:
    data = bytearray(encode(Image.new("P", (4, 4)), "GIF"))
    at = data.index(b"\x2c", 13)
    data[at + 5 : at + 9] = struct.pack("<HH", 65_000, 65_000)
    with pytest.raises(ImageTooLargeError):
        decode(bytes(data))


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_compressed_metadata_does_not_unfold_without_bound(name: bytes) -> None:
    bomb = b"k\0\0" + zlib.compress(bytes(64 * 2**20), 1)
    with pytest.raises(NotAnImageError, match="corrupt"):
        decode(png((1, 1), 8, 2, b"\1\2\3", (name, bomb)))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"abc", b"no image, but a sentence", b"<svg></svg>", b"\xff\xd8\xff", bytes(100)],
)
def test_what_is_no_image_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(NotAnImageError, match=r"no bytes|not an image"):
        decode(data)


@pytest.mark.parametrize("size", [None, 8])
@pytest.mark.parametrize("name", ENCODED)
def test_a_truncated_image_is_corrupt_wherever_it_is_cut(name: str, size: int | None) -> None:
    data = ENCODED[name]
    whole = decode(data, size)
    decoded = 0
    for length in range(0, len(data), 3):
        try:
            pixels = decode(data[:length], size)
        except NotAnImageError:
            continue
        # When all that is missing is the end marker, the picture is whole; it is never a part.
        assert (pixels == whole).all()
        decoded += 1
    assert decoded < len(data) / 6


def test_a_truncated_jpeg_that_lies_on_its_side_is_corrupt() -> None:
    data = encode(smooth(64, 48), "JPEG", exif=exif(orientation(6)))
    for size in (None, 16):
        with pytest.raises(NotAnImageError, match="corrupt"):
            decode(data[: len(data) // 2], size)


@pytest.mark.parametrize("size", [None, 8])
def test_corrupt_pixels_before_their_exif_are_corrupt(size: int | None) -> None:
    """A PNG may say after its pixels how it lies: to read that, Pillow decodes them."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    plain = encode(Image.fromarray(noise), "PNG")
    end = plain.index(b"IEND") - 4
    data = bytearray(plain[:end] + chunk(b"eXIf", exif(orientation(6))[6:]) + plain[end:])
    assert decode(bytes(data)).shape == (30, 20, 3)
    data[end // 2] ^= 0xFF
    with pytest.raises(NotAnImageError, match="corrupt"):
        decode(bytes(data), size)


@pytest.mark.parametrize("form", ["TIFF", "ICO", "AVIF", "JPEG2000", "PPM", "ICNS"])
def test_an_image_of_another_format_is_named(form: str) -> None:
    data = encode(Image.new("RGB", (32, 32)), form)
    with pytest.raises(UnsupportedFormatError, match=rf"^{form} is not accepted; send JPEG, PNG"):
        decode(data)


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        (b"8BPS\0\1", "PSD"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
    ],
)
def test_the_first_bytes_of_another_format_are_enough(prefix: bytes, name: str) -> None:
    for data in (prefix, prefix + bytes(100)):
        with pytest.raises(UnsupportedFormatError, match=f"^{name} is not accepted"):
            decode(data)


def test_a_video_is_no_image() -> None:
    with pytest.raises(NotAnImageError):
        decode(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(100))


def test_read_decodes_a_file(tmp_path: Path) -> None:
    # By its content, whatever it is called.
    path = tmp_path / "picture.txt"
    path.write_bytes(ENCODED["PNG"])
    assert (read(path) == np.asarray(quarters())).all()
    assert read(path, 8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("content", "limits", "kind"),
    [
        (b"", Limits(), NotAnImageError),
        (b"text", Limits(), NotAnImageError),
        (ENCODED["JPEG"][:200], Limits(), NotAnImageError),
        (b"II*\0", Limits(), UnsupportedFormatError),
        (ENCODED["JPEG"], Limits(max_bytes=9), ImageTooLargeError),
        (ENCODED["JPEG"], Limits(max_pixels=9), ImageTooLargeError),
    ],
)
def test_what_read_raises_names_the_file(
    tmp_path: Path, content: bytes, limits: Limits, kind: type[ImageError]
) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(kind) as raised:
        read(path, limits=limits)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    with path.open("wb") as film:
        # A hole: it takes no room on the disk, and would take more than all of memory.
        film.truncate(2**40)
    with pytest.raises(ImageTooLargeError, match="1,099,511,627,776 bytes; at most"):
        read(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.jpg", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(NotAnImageError) as raised:
            read(path)
        assert str(raised.value).startswith(f"{path}: cannot be read: {reason}")


def valid_images() -> list[bytes]:
    """One small image of each kind that a decoder treats apart."""
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
        # Headers lie in front, and are where damage does most.
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
# Small, because a header that is damaged may declare any size below the limit.
FUZZ = Limits(max_pixels=2**20)


def check_total(data: bytes, size: int | None) -> None:
    """An array of the shape that is promised, or a PintagError; nothing else."""
    try:
        pixels: npt.NDArray[Any] = decode(data, size, FUZZ)
    except PintagError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.size > 0
    assert size is None or pixels.shape == (size, size, 3)


def test_the_images_that_are_damaged_below_are_valid() -> None:
    assert all(decode(data, limits=FUZZ).any() for data in VALID)


@lenient
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from([None, 8]))
def test_any_bytes_become_an_array_or_a_pintag_error(data: bytes, size: int | None) -> None:
    check_total(data, size)


@lenient
@settings(max_examples=600, deadline=None, derandomize=True)
@given(damaged(), st.sampled_from([None, 8]))
def test_a_damaged_image_becomes_an_array_or_a_pintag_error(data: bytes, size: int | None) -> None:
    check_total(data, size)
