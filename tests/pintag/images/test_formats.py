"""Recognise formats by the content of a file: accepted ones, and others that errors name."""

from __future__ import annotations

import gzip

import pytest
from PIL import Image

from pintag.core.errors import ImageError, NotAnImageError, UnsupportedFormatError
from pintag.images import formats
from pintag.images.decoding import EncodedImage, decode
from pintag.images.formats import PREFIX_BYTES, looks_like_image, recognise
from pintag.images.limits import ImageLimits
from tests.pintag.images.encoded import (
    BLUE,
    ENCODED,
    chunk,
    corners,
    encode,
    exif,
    orientation,
    quarters,
)


def brand(major: bytes, *compatible: bytes) -> bytes:
    """The first box of a file in the ISO base media file format."""
    content = b"ftyp" + major + bytes(4) + b"".join(compatible)
    return (len(content) + 4).to_bytes(4) + content


FOREIGN = [
    (b"8BPS\0\1", "PSD"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (brand(b"crx ", b"crx ", b"isom"), "CR3"),
    (b"FUJIFILMCCD-RAW 0201", "RAF"),
    (b"IIRO\x08\0\0\0", "ORF"),
    (b"IIU\0\x08\0\0\0", "RW2"),
    (b"\x01\xda\1\1\0\3", "SGI"),
    (b"\x59\xa6\x6a\x95\0\0\0\x20", "RAS"),
    (b"SDPX\0\0\x20\0", "DPX"),
    (b"XPDS\0\x20\0\0", "DPX"),
    (b"\x80\x2a\x5f\xd7\0\0\x08\0", "CIN"),
    (b"\x8bJNG\r\n\x1a\n", "JNG"),
    (b"Paint Shop Pro Image File\n\x1a", "PSP"),
    (b"BLP2\1\0\0\0", "BLP"),
    (b"\x13\xab\xa1\x5c\4\4\1", "ASTC"),
    (b"/* XPM */\nstatic char *a[] = {", "XPM"),
    (b"#define a_width 16\n#define a_height 7\n", "XBM"),
    (b"PF\n8 8\n-1.0\n", "PPM"),
    (b"BA\x28\0\0\0\0\0\0\0\0\0\0\0BM", "BMP array"),
    (b"<svg></svg>", "SVG"),
    (
        b'<?xml version="1.0"?>\n<!-- a drawing -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        "SVG",
    ),
    (b"\xef\xbb\xbf  <svg width='9'>", "SVG"),
    (b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN'><svg:svg >", "SVG"),
    (b"P6\n8 8\n255\n", "PPM"),
    (b"<!-- " + b"a licence of 4 KB " * 228 + b"-->\n<svg/>", "SVG"),
    ('<?xml version="1.0" encoding="UTF-16"?><svg/>'.encode("utf-16"), "SVG"),
    (b"\xfe\xff" + "<svg/>".encode("utf-16-be"), "SVG"),
    (gzip.compress(b"<svg/>" + bytes(100_000), mtime=0), "SVG"),
    (b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg'/>", "SVG"),
    (b"<!DOCTYPE svg PUBLIC 'a' 'b' [<!ENTITY ns 'c'>]>\n<svg/>", "SVG"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
    (b"\xc5\xd0\xd3\xc6\x20\0\0\0", "EPS"),
    (b"\n\5\1\x08\0\0\0\0", "PCX"),
    (b"SIMPLE  =                    T", "FITS"),
    (bytes(128) + b"DICM\2\0", "DICOM"),
    (b"\xabKTX 20\xbb\r\n\x1a\n", "KTX"),
    (b"\1\0\0\0" + bytes(36) + b" EMF", "EMF"),
    (brand(b"avci", b"mif1"), "HEIF with AVC"),
    (brand(b"mif1", b"mif1", b"avci"), "HEIF with AVC"),
    (brand(b"avcs"), "HEIF with AVC"),
    (brand(b"jpeg"), "HEIF with JPEG"),
    (brand(b"jpgs"), "HEIF with JPEG"),
    (brand(b"j2ki"), "HEIF with JPEG2000"),
    (brand(b"vvic"), "HEIF with VVC"),
]
APPLE = [
    *((brand(name), "HEIC") for name in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")),
    *((brand(name), "HEIC") for name in (b"hevm", b"hevs")),
    (brand(b"mif1", b"mif1", b"heic"), "HEIC"),
    (brand(b"msf1", b"hevc"), "HEIC"),
    *((brand(name), "HEIF") for name in (b"mif1", b"unif", b"MiHE", b"MiHB", b"MiHA", b"MiPr")),
    (brand(b"mif1", b"mif1", b"avif"), "AVIF"),
    (brand(b"avis"), "AVIF"),
]


@pytest.mark.parametrize(("prefix", "name"), FOREIGN)
def test_a_format_that_is_not_accepted_is_named(prefix: bytes, name: str) -> None:
    for data in (prefix, prefix + bytes(100)):
        assert looks_like_image(data)
        with pytest.raises(UnsupportedFormatError, match=rf"^{name} is not accepted; send JPEG, P"):
            decode(data)


@pytest.mark.parametrize(
    "form", ["TIFF", "ICO", "JPEG2000", "PPM", "ICNS", "DDS", "TGA", "PCX", "EPS"]
)
def test_an_image_of_another_format_is_recognised(form: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=rf"^{form} is not accepted; send JPEG, PNG"):
        decode(encode(Image.new("RGB", (32, 32)), form))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("compression", [None, "tga_rle"])
def test_every_kind_of_tga_is_recognised(mode: str, compression: str | None) -> None:
    if mode == "1" and compression:
        pytest.skip("Pillow does not write it")
    data = encode(Image.new(mode, (300, 40)), "TGA", compression=compression)
    assert recognise(data) == "TGA"


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (b"\xff\xc0\0\x0b\x0c", "JPEG with 12 bits for each sample"),
        (b"\xff\xc1\0\x0b\x0c", "JPEG with 12 bits for each sample"),
        (b"\xff\xc3\0\x0b\x10", "JPEG with 16 bits for each sample"),
        (b"\xff\xc5\0\x0b\x08", "hierarchical JPEG"),
        (b"\xff\xcb\0\x0b\x08", "lossless arithmetic JPEG"),
        (b"\xff\xf7\0\x0b\x08", "JPEG-LS"),
    ],
)
@pytest.mark.parametrize("before", [0, PREFIX_BYTES])
def test_a_kind_of_jpeg_that_no_decoder_reads_is_named(
    frame: bytes, name: str, before: int
) -> None:
    """The frame of a photograph stands behind kilobytes of EXIF."""
    data = encode(quarters(), "JPEG", exif=b"Exif\0\0" + bytes(before))
    at = data.index(b"\xff\xc0")
    with pytest.raises(UnsupportedFormatError, match=rf"^{name} is not accepted; send JPEG, P"):
        decode(data[:at] + frame + data[at + 5 :])


def test_a_png_of_xcode_is_named() -> None:
    data = ENCODED["PNG"]
    with pytest.raises(UnsupportedFormatError, match=r"^PNG of Xcode \(CgBI\) is not accepted"):
        decode(data[:8] + chunk(b"CgBI", bytes(4)) + data[8:])


@pytest.mark.parametrize(
    ("at", "value"), [(14, b"\x10"), (28, b"\2"), (30, b"\4"), (30, b"\5")], ids=str
)
def test_a_kind_of_bitmap_that_no_decoder_reads_is_not_called_damaged(
    at: int, value: bytes
) -> None:
    """A short header of OS/2, two bits for each pixel, a JPEG or a PNG in a bitmap."""
    data = ENCODED["BMP"]
    with pytest.raises(UnsupportedFormatError, match=r"^BMP with unusual .* is not accepted; send"):
        decode(data[:at] + value + data[at + 1 :])


def test_a_cursor_is_not_taken_for_tga() -> None:
    icon = encode(Image.new("RGB", (32, 32)), "ICO")
    assert recognise(icon[:2] + b"\2" + icon[3:]) == "CUR"


def test_a_document_is_named_but_is_no_image() -> None:
    assert not looks_like_image(b"%PDF-1.7")
    with pytest.raises(UnsupportedFormatError, match=r"^PDF is not accepted; send JPEG, P"):
        decode(b"%PDF-1.7\n")


@pytest.mark.parametrize("data", [b"II*\0" + bytes(64), b"no picture"], ids=["other", "none"])
def test_a_refusal_names_what_this_installation_accepts(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal(decoders: set[str], heif: bool = True) -> str:
        monkeypatch.setattr(formats, "has_decoder", decoders.__contains__)
        formats.accepted.cache_clear()
        with pytest.raises(ImageError) as refused:
            decode(data, limits=ImageLimits(heif=heif))
        return str(refused.value).partition("; send ")[2]

    try:
        assert refusal(set()) == "JPEG, PNG, WEBP, GIF, BMP"
        assert refusal({"AVIF"}) == "JPEG, PNG, WEBP, GIF, BMP, AVIF"
        assert refusal({"AVIF", "HEIC"}) == "JPEG, PNG, WEBP, GIF, BMP, HEIC, AVIF"
        assert refusal({"AVIF", "HEIC"}, heif=False) == "JPEG, PNG, WEBP, GIF, BMP"
    finally:
        formats.accepted.cache_clear()


@pytest.mark.parametrize(("prefix", "name"), APPLE)
def test_heic_and_avif_are_named_where_they_are_not_accepted(prefix: bytes, name: str) -> None:
    assert recognise(prefix) == name
    with pytest.raises(UnsupportedFormatError, match=f"^{name} is not accepted"):
        decode(prefix, limits=ImageLimits(heif=False))


@pytest.mark.parametrize(("prefix", "name"), APPLE)
def test_a_stub_of_heic_or_avif_is_damaged(prefix: bytes, name: str) -> None:
    if not formats.has_decoder(name):
        pytest.skip(f"no decoder of {name} is installed")
    with pytest.raises(NotAnImageError, match=f"^the {name} is cut off or damaged"):
        decode(prefix + bytes(200))


def test_the_pixels_of_a_heic_may_have_another_codec() -> None:
    if not formats.has_decoder("HEIC"):
        pytest.skip("no decoder of HEIC is installed")
    data = encode(quarters(64, 48), "AVIF")
    with pytest.raises(UnsupportedFormatError, match=r"^HEIC with another codec is not accepted"):
        decode(data[:8] + b"heic" + data[12:])


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_heic_and_avif_are_decoded_within_the_limits(form: str) -> None:
    if not formats.has_decoder(form):
        pytest.skip(f"no decoder of {form} is installed")
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = encode(quarters(64, 48), form, quality=95)
    # HEVC stores whole blocks.
    assert 64 * 48 <= EncodedImage(data).pixels <= 64 * 64
    assert decode(data).shape == (48, 64, 3)
    assert decode(data, 8).shape == (8, 8, 3)
    turned = decode(encode(quarters(64, 48), form, exif=exif(orientation(6)), quality=95))
    assert turned.shape == (64, 48, 3)
    assert corners(turned)[0] == pytest.approx(BLUE, abs=6)
    for limits in (ImageLimits(max_declared_pixels=9), ImageLimits(max_decoded_pixels=9)):
        with pytest.raises(Exception, match=r"64x(48|64) pixels; at most 9"):
            decode(data, limits=limits)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"B",
        b"BM, a car",
        b"BM is not a picture, but text",
        b"RIFF....WAVE",
        b"%PDF-1.7",
        b"P9\n",
        bytes(100),
        b"<html>",
        b"<!-- a licence --><html><svg></svg></html>",
        b"<?xml version='1.0'?><project><svg/></project>",
        b"<!---->" * 1000 + b"<html>",
        gzip.compress(b"a log", mtime=0),
        b"\x1f\x8b cut off",
        b"\xff\xfea\0",
        b"\0\1\0\0\0\x0f\0\x80\0\3\0\x70GSUB\0\0",
    ],
)
def test_other_files_do_not_look_like_images(data: bytes) -> None:
    assert not looks_like_image(data)


def test_a_video_is_not_an_image() -> None:
    data = brand(b"isom", b"isom", b"iso2", b"mif1") + bytes(100)
    assert not looks_like_image(data)
    with pytest.raises(NotAnImageError):
        decode(data)


@pytest.mark.parametrize("name", ENCODED)
def test_the_content_decides_and_not_the_name(name: str) -> None:
    assert looks_like_image(ENCODED[name][:PREFIX_BYTES])
    assert recognise(ENCODED[name][:PREFIX_BYTES]) == recognise(ENCODED[name])
