"""Headers that no camera writes and that would cost seconds of Python: most are refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pintag.core.errors import DecodingError, ImageTooLargeError, NotAnImageError
from pintag.images import header_reader
from pintag.images.decoding import DEFAULT_LIMITS, EncodedImage, decode
from pintag.images.header import FULL
from tests.pintag.images.encoded import ENCODED, encode
from tests.pintag.images.hostile import png_of_empty_chunks, progressive_jpeg, run_length_bitmap

JPEG = ENCODED["JPEG"]
GIF = encode(Image.new("L", (9, 9)), "GIF")
# Behind the palette.
START = 13 + (3 << (GIF[10] & 7) + 1)
MANY = 2**15 + 1
FRAME, SCAN = JPEG.index(b"\xff\xc0"), JPEG.index(b"\xff\xda")


def within(at: int, *inserted: bytes) -> bytes:
    """A JPEG with other bytes at a place between two segments."""
    return JPEG[:at] + b"".join(inserted) + JPEG[at:]


GAPS = {
    "fill bytes at the start": within(2, b"\xff" * 1000),
    "fill bytes before the frame": within(FRAME, b"\xff" * 1000),
    "zeros": within(SCAN, bytes(1000)),
    "other bytes": within(SCAN, b"abc\xff\0" * 100),
    "restart markers": within(SCAN, b"\xff\xd0" * 100),
    "an application segment of no length": within(2, b"\xff\xe5\0\0"),
}


@pytest.mark.parametrize("data", GAPS.values(), ids=GAPS)
def test_a_few_bytes_between_segments_do_not_matter(data: bytes) -> None:
    image = EncodedImage(data)
    assert not image.is_slow
    assert (image.decode() == decode(JPEG)).all()


PADDED = {
    "fill bytes at the start": within(2, b"\xff" * 19_000_000),
    "fill bytes after a bare marker": within(2, b"\xff\xd0", b"\xff" * 1_000_000),
    "fill bytes before the scan": within(SCAN, b"\xff" * 1_000_000),
    "zeros": within(FRAME, bytes(1_000_000)),
    "a little between many segments": within(2, (b"\xff\xe5\0\2" + bytes(2**13)) * 10),
}


@pytest.mark.parametrize("data", PADDED.values(), ids=PADDED)
def test_a_jpeg_with_much_padding_is_refused_at_once(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(DecodingError, match=r"too many bytes of padding .*; save it again"):
        EncodedImage(data)
    # Skipping the padding byte by byte takes several seconds.
    assert time.process_time() - started < 1


@pytest.mark.parametrize("scans", [101, 6500, 30_000])
def test_a_jpeg_of_many_scans_is_refused_by_its_header(scans: int) -> None:
    """Each scan goes over all pixels: 239 KB of them took 40 s."""
    with pytest.raises(DecodingError, match="more than 100 scans"):
        decode(progressive_jpeg(4000, 3900, scans))


def test_a_jpeg_that_begins_again_before_its_pixels_is_corrupt() -> None:
    with pytest.raises(NotAnImageError, match="begins or ends before its pixels"):
        EncodedImage(within(2, JPEG[:2], b"\xff" * 100))


def test_a_jpeg_whose_padding_has_no_end_is_corrupt() -> None:
    with pytest.raises(NotAnImageError, match="ends in its header"):
        EncodedImage(JPEG[:2] + b"\xff" * 100)


def test_a_jpeg_of_endless_tables_is_refused() -> None:
    with pytest.raises(DecodingError, match=r"too many bytes of tables .*; save it again"):
        decode(within(2, (b"\xff\xf0\xff\xff" + bytes(2**16 - 3)) * 5))


ENDLESS: dict[str, Callable[[], bytes]] = {
    "segments of a JPEG": lambda: within(2, b"\xff\xfe\0\2" * MANY),
    "segments between scans": lambda: progressive_jpeg(64, 64, 2)[:-2] + b"\xff\xfe\0\2" * MANY,
    "chunks of a PNG": lambda: png_of_empty_chunks(MANY),
    "comments of a GIF": lambda: GIF[:START] + b"!\xfe\0" * MANY + GIF[START:],
    "blocks of a comment": lambda: GIF[:START] + b"!\xfe" + b"\1a" * MANY + b"\0" + GIF[START:],
}


@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)
def test_more_parts_than_any_program_writes_are_refused_where_an_image_is_decoded(
    make: Callable[[], bytes],
) -> None:
    data = make()
    header_reader.read(data)
    with pytest.raises(DecodingError, match=r"has more than 32,768 .*; save it again"):
        header_reader.read(data, FULL)
    with pytest.raises(DecodingError, match=r"has more than 32,768 .*; save it again"):
        decode(data, isolated=True)


def test_a_small_bitmap_of_run_lengths_is_decoded() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    data = run_length_bitmap(8, 8, b"\x08\x01\0\0" * 8 + b"\0\1", bytes(4) + b"\0\0\xff\0")
    assert (decode(data) == np.asarray(image.convert("RGB"))).all()


def test_a_bitmap_of_run_lengths_costs_what_python_takes() -> None:
    """The end of each line fills it pixel by pixel."""
    plain = EncodedImage(encode(Image.new("RGB", (1000, 700)), "BMP"))
    lines = EncodedImage(run_length_bitmap(1000, 700, b"\1\5\0\0" * 700))
    commands = EncodedImage(run_length_bitmap(100, 100, b"\1\5" * 500_000))
    assert lines.cost_s > 2 * plain.cost_s
    assert commands.cost_s > 0.2


def test_a_bitmap_of_run_lengths_that_takes_longer_than_the_limit_is_too_large() -> None:
    data = run_length_bitmap(7000, 7000, b"\1\5\0\0" * 7000)
    words = r"decoding this compressed BMP may take 5\.9 s, and the limit is 5 s; send it as PNG"
    with pytest.raises(ImageTooLargeError, match=words):
        EncodedImage(data)
    EncodedImage(data, replace(DEFAULT_LIMITS, decode_timeout_s=6))


def test_a_png_may_have_as_many_chunks_as_programs_write() -> None:
    """Programs write a chunk for each 8 KB of pixels."""
    chunks = DEFAULT_LIMITS.max_bytes // 2**13
    assert decode(png_of_empty_chunks(chunks)).shape == (1, 1, 3)
