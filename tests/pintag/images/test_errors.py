"""Refuse files that are too large, corrupt, or not images, and read files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pintag.core.errors import (
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedFormatError,
)
from pintag.images.decoding import decode, read
from pintag.images.limits import ImageLimits
from tests.pintag.images.encoded import (
    ENCODED,
    chunk,
    encode,
    exif,
    orientation,
    png,
    quarters,
    smooth,
)


def test_more_bytes_than_the_limit_are_refused() -> None:
    data = ENCODED["PNG"]
    assert decode(data, limits=ImageLimits(max_bytes=len(data))).shape == (24, 32, 3)
    with pytest.raises(ImageTooLargeError, match=f"{len(data)} bytes; at most {len(data) - 1} "):
        decode(data, limits=ImageLimits(max_bytes=len(data) - 1))


@pytest.mark.parametrize("size", [None, 8])
@pytest.mark.parametrize("name", ENCODED)
def test_more_pixels_than_the_limit_are_refused(name: str, size: int | None) -> None:
    assert decode(ENCODED[name], size, ImageLimits(max_declared_pixels=32 * 24)).any()
    with pytest.raises(ImageTooLargeError, match="32x24 pixels; at most 767 in all"):
        decode(ENCODED[name], size, ImageLimits(max_declared_pixels=32 * 24 - 1))


@pytest.mark.parametrize("side", [16_000, 100_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    # The files have no pixels: decoding before the check would report a corrupt image.
    with pytest.raises(ImageTooLargeError, match="at most 250,000,000 in all are accepted"):
        decode(png((side, side), 8, 2, b""))


@pytest.mark.parametrize("size", [None, 8])
def test_more_pixels_than_may_be_decoded_are_refused(size: int | None) -> None:
    with pytest.raises(ImageTooLargeError, match="12000x12000 pixels; at most 50,000,000 in all"):
        decode(png((12_000, 12_000), 8, 2, b""), size)


def test_a_jpeg_is_decoded_at_an_eighth_unless_it_is_progressive() -> None:
    """Phones write 200 megapixels; a progressive file is kept in memory at its full size."""
    limits = ImageLimits(max_decoded_pixels=50 * 38)
    image = smooth(400, 300)
    assert decode(encode(image, "JPEG"), 30, limits).shape == (30, 30, 3)
    assert decode(encode(image, "JPEG"), limits=limits, longest=50).shape == (38, 50, 3)
    for data, size in (
        (encode(image, "JPEG"), None),
        (encode(image, "JPEG", progressive=True), 30),
    ):
        with pytest.raises(ImageTooLargeError, match="400x300 pixels; at most 1,900 in all are"):
            decode(data, size, limits)


def test_a_gif_frame_larger_than_its_screen_is_refused() -> None:
    data = bytearray(encode(Image.new("P", (4, 4)), "GIF"))
    at = data.index(b"\x2c", 13)
    data[at + 5 : at + 9] = struct.pack("<HH", 65_000, 65_000)
    with pytest.raises(ImageTooLargeError):
        decode(bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"abc",
        b"no image, but a sentence",
        b"<?xml?><a>svg</a>",
        bytes(100),
    ],
)
def test_other_input_is_not_an_image(data: bytes) -> None:
    with pytest.raises(NotAnImageError, match=r"no bytes|not an image"):
        decode(data)


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff", b"\xff\xd8\xff\xe0 no image", b"GIF89a", b"\x89PNG\r\n\x1a\n"]
)
def test_an_image_that_ends_in_its_header_is_cut_off(data: bytes) -> None:
    message = (
        r"^the (JPEG|GIF|PNG) is cut off or damaged: the file ends in its header; save or send"
    )
    with pytest.raises(NotAnImageError, match=message):
        decode(data)


@pytest.mark.parametrize("data", [b"\xff\xd8", b"\x89P", b"\x89PNG\r\n\x1a", b"GIF8"], ids=repr)
def test_an_image_that_ends_in_its_signature_is_cut_off(data: bytes) -> None:
    message = rf"^the \w+ is cut off or damaged: the file has only {len(data)} bytes; save or send"
    with pytest.raises(NotAnImageError, match=message):
        decode(data)


@pytest.mark.parametrize("share", [0.1, 0.4])
@pytest.mark.parametrize("name", ENCODED)
def test_the_message_names_the_format_of_a_file_that_is_cut_off(name: str, share: float) -> None:
    data = ENCODED[name][: max(40, int(share * len(ENCODED[name])))]
    with pytest.raises(NotAnImageError, match=r"^the \w+ is cut off or damaged: .*again$"):
        decode(data)
    with pytest.raises(NotAnImageError, match=r"^the \w+ is cut off or damaged: .*again$"):
        decode(data, 8, isolated=True)


@pytest.mark.parametrize("size", [None, 8])
@pytest.mark.parametrize("name", ENCODED)
def test_an_image_truncated_anywhere_is_corrupt(name: str, size: int | None) -> None:
    data = ENCODED[name]
    whole = decode(data, size)
    decoded = 0
    for length in range(0, len(data), 3):
        try:
            pixels = decode(data[:length], size)
        except NotAnImageError:
            continue
        # If only the end marker is missing, the picture is complete.
        assert (pixels == whole).all()
        decoded += 1
    assert decoded < len(data) / 6


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png((8, 8), 8, 2, b"abc"), "the file ends in its pixels"),
        (png((1, 1), 8, 3, b"\0"), "its pixels cannot be decoded"),
        (png((1, 1), 8, 2, b"abc").replace(b"IDAT", b"IDAX"), "cannot load this image"),
        (ENCODED["BMP"][:18] + b"\xf8\xff\xff\xff" + ENCODED["BMP"][22:], "its width is negative"),
    ],
)
def test_the_reason_is_in_plain_words(data: bytes, reason: str) -> None:
    with pytest.raises(NotAnImageError, match=f"damaged: {reason}; save or send it again$"):
        decode(data)


def test_a_truncated_rotated_jpeg_is_cut_off() -> None:
    data = encode(smooth(64, 48), "JPEG", exif=exif(orientation(6)))
    for size in (None, 16):
        with pytest.raises(NotAnImageError, match="the JPEG is cut off or damaged: the file ends"):
            decode(data[: len(data) // 2], size)


@pytest.mark.parametrize("size", [None, 8])
def test_damaged_pixels_before_the_exif_are_reported(size: int | None) -> None:
    """The EXIF of a PNG may come after its pixels; Pillow then decodes them to read it."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    plain = encode(Image.fromarray(noise), "PNG")
    end = plain.index(b"IEND") - 4
    data = bytearray(plain[:end] + chunk(b"eXIf", exif(orientation(6))[6:]) + plain[end:])
    assert decode(bytes(data)).shape == (30, 20, 3)
    data[end // 2] ^= 0xFF
    with pytest.raises(NotAnImageError, match="the PNG is cut off or damaged"):
        decode(bytes(data), size)


def test_read_decodes_a_file(tmp_path: Path) -> None:
    # The content decides, not the suffix.
    path = tmp_path / "picture.txt"
    path.write_bytes(ENCODED["PNG"])
    assert (read(path) == np.asarray(quarters())).all()
    assert read(path, 8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("content", "limits", "kind"),
    [
        (b"", ImageLimits(), NotAnImageError),
        (b"text", ImageLimits(), NotAnImageError),
        (ENCODED["JPEG"][:200], ImageLimits(), NotAnImageError),
        (b"II*\0", ImageLimits(), UnsupportedFormatError),
        (ENCODED["JPEG"], ImageLimits(max_bytes=9), ImageTooLargeError),
        (ENCODED["JPEG"], ImageLimits(max_declared_pixels=9), ImageTooLargeError),
    ],
)
def test_errors_of_read_name_the_file(
    tmp_path: Path, content: bytes, limits: ImageLimits, kind: type[ImageError]
) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(kind) as raised:
        read(path, limits=limits)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    with path.open("wb") as film:
        # A sparse file: it takes no space on the disk, but would not fit into memory.
        film.truncate(2**40)
    with pytest.raises(ImageTooLargeError, match="1,099,511,627,776 bytes; at most"):
        read(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.jpg", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(NotAnImageError) as raised:
            read(path)
        assert str(raised.value).startswith(f"{path}: cannot be read: {reason}")
