"""Metadata never costs the pixels: however large, broken or numerous it is."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pintag.images.decoding import EncodedImage, decode
from pintag.images.header import FULL
from pintag.images.header_reader import read
from tests.pintag.images.encoded import ENCODED, chunk, encode, exif, orientation, png, quarters

PIXEL = b"\1\2\3"
LARGE = b"metadata " * 170_000
PACKED = zlib.compress(LARGE)
BOMB = zlib.compress(bytes(64 * 2**20), 1)
CHUNKS = {
    "colour profile": chunk(b"iCCP", b"profile\0\0" + PACKED),
    "compressed text": chunk(b"zTXt", b"Comment\0\0" + PACKED),
    "text that unpacks to 64 MB": chunk(b"zTXt", b"Comment\0\0" + BOMB),
    "profile that unpacks to 64 MB": chunk(b"iCCP", b"profile\0\0" + BOMB),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LARGE),
    "wrong checksum": chunk(b"tEXt", b"a\0b")[:-4] + b"nope",
    "too short": b"".join(chunk(name, b"") for name in (b"gAMA", b"pHYs", b"cHRM", b"sRGB")),
    "animation that is none": chunk(b"acTL", b"\0\0\0\5\0\0\0\0") + chunk(b"fcTL", b""),
    "many chunks": chunk(b"teSt", b"") * 10_000,
}


@pytest.mark.parametrize("place", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("name", CHUNKS)
def test_ancillary_chunks_of_a_png_are_ignored(name: str, place: bytes) -> None:
    data = png((1, 1), 8, 2, PIXEL)
    at = data.index(place) - 4
    assert decode(data[:at] + CHUNKS[name] + data[at:]).tolist() == [[[1, 2, 3]]]


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def directory(count: int) -> bytes:
    """EXIF with so many tags, the last of which is the orientation."""
    return exif(*[(0x9000 + number, 3, 1, b"\1\0\0\0") for number in range(count)], orientation(6))


SEGMENTS = {
    "colour profile": b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 30]) + bytes(65_000))
        for number in range(30)
    ),
    "profile of missing parts": segment(0xE2, b"ICC_PROFILE\0\7"),
    "broken Photoshop block": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\xff\xff"),
    "broken index of pictures": segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    "EXIF of 5,000 tags": segment(0xE1, directory(5000)),
    "broken EXIF": segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "comments": segment(0xFE, b"a comment") * 10_000,
    "broken JFIF": segment(0xE0, b"JFIF\0"),
    "broken Adobe segment": segment(0xEE, b"Adobe"),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_metadata_of_a_jpeg_is_ignored(name: str) -> None:
    data = ENCODED["JPEG"]
    assert (decode(data[:2] + SEGMENTS[name] + data[2:]) == decode(data)).all()


def test_bytes_between_segments_are_skipped_as_other_programs_do() -> None:
    data = ENCODED["JPEG"]
    at = data.index(b"\xff\xda")
    assert (decode(data[:at] + bytes(3) + data[at:]) == decode(data)).all()


def test_the_orientation_of_xmp_is_ignored_as_browsers_do() -> None:
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    assert decode(encode(quarters(), "JPEG", xmp=xmp)).shape == (24, 32, 3)


def test_the_exif_of_a_png_may_follow_its_pixels() -> None:
    data = png((2, 1), 8, 2, PIXEL * 2)
    at = data.index(b"IEND") - 4
    turned = data[:at] + chunk(b"eXIf", exif(orientation(6))[6:]) + data[at:]
    assert decode(turned).shape == (2, 1, 3)


def test_a_bitmap_without_any_opacity_is_opaque() -> None:
    def bmp(mask: int, alpha: int) -> bytes:
        pixels = bytes([30, 80, 200, alpha]) * 4
        header = struct.pack("<IiiHHIIiiII", 108, 2, 2, 1, 32, 3, len(pixels), 0, 0, 0, 0)
        header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, mask) + b"BGRs" + bytes(48)
        return b"BM" + struct.pack("<IHHI", 122 + len(pixels), 0, 0, 122) + header + pixels

    for data in (bmp(0xFF000000, 0), bmp(0xFF000000, 255), bmp(0, 0)):
        assert (decode(data) == (200, 80, 30)).all()
    half = decode(bmp(0xFF000000, 128))
    assert half[0, 0] == pytest.approx((227, 167, 142), abs=1)


@pytest.mark.parametrize("options", [{}, {"transparency": 0}])
def test_a_gif_is_white_where_its_first_frame_is_not(options: dict[str, int]) -> None:
    frame = Image.new("P", (20, 10), 1)
    frame.putpalette([0, 255, 0, 200, 80, 30])
    data = bytearray(encode(frame, "GIF", optimize=False, **options))
    at = data.index(b"\x2c", 13)
    data[6:10], data[at + 1 : at + 5] = struct.pack("<HH", 60, 40), struct.pack("<HH", 30, 20)
    expected = np.full((40, 60, 3), 255)
    expected[20:30, 30:50] = (200, 80, 30)
    assert (decode(bytes(data)) == expected).all()


@pytest.mark.parametrize(
    ("colour", "content"),
    [
        (2, b""),
        (2, b"\0\1"),
        (2, b"\0\1\0\2\0\3\0\0"),
        (0, b"\0"),
        (0, b"\0\1\0\2"),
        (3, b""),
        (3, bytes(257)),
        (6, b"\0\1\0\2\0\3"),
    ],
)
def test_transparency_that_does_not_fit_a_png_is_ignored(colour: int, content: bytes) -> None:
    """As by libpng and browsers."""
    palette = (b"PLTE", bytes([1, 2, 3] * 2))
    rows = {0: (b"\1", [1] * 3), 3: (b"\0", [1, 2, 3]), 6: (PIXEL + b"\xff", [1, 2, 3])}
    row, expected = rows.get(colour, (PIXEL, [1, 2, 3]))
    extra = [palette] if colour == 3 else []
    data = png((1, 1), 8, colour, row, *extra, (b"tRNS", content))
    assert decode(data).tolist() == [[expected]]


def test_transparency_after_the_pixels_is_ignored() -> None:
    data = png((1, 1), 8, 2, PIXEL)
    at = data.index(b"IEND") - 4
    late = data[:at] + chunk(b"tRNS", b"\0\1\0\2\0\3") + data[at:]
    assert decode(late).tolist() == [[[1, 2, 3]]]


def test_transparency_with_a_wrong_checksum_is_ignored() -> None:
    data = png((1, 1), 8, 2, PIXEL, (b"tRNS", b"\0\1\0\2\0\3"))
    at = data.index(b"IDAT") - 8
    assert decode(data).tolist() == [[[255] * 3]]
    assert decode(data[:at] + b"nope" + data[at + 4 :]).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize("name", ENCODED)
def test_the_header_has_the_size_of_the_image(name: str) -> None:
    header = read(ENCODED[name])
    assert header.size == (32, 24)
    assert not EncodedImage(ENCODED[name]).is_slow


@pytest.mark.parametrize(("name", "scans"), [("JPEG", 1), ("progressive JPEG", 10)])
def test_scans_are_counted(name: str, scans: int) -> None:
    data = ENCODED[name]
    # What looks like a scan within metadata, or behind the image, is none.
    more = segment(0xE1, b"Exif\0\0" + b"\xff\xda" * 500)
    for variant in (data, data[:2] + more + data[2:], data + b"\xff\xda" * 500):
        assert read(variant).scans == read(variant, FULL).scans == scans
