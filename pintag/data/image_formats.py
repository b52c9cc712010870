"""Recognise an image format by the first bytes of a file.

The content decides, never the ending of a file's name: phones and browsers misname pictures.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

from PIL import features

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""The formats that are always accepted."""
OPTIONAL_FORMATS = ("HEIC", "HEIF", "AVIF")
"""The formats that are accepted where a decoder is installed; see `accepted`."""
PREFIX_BYTES = 1024
"""How many bytes of a file are enough to recognise its format."""

# The brands of the ISO base media file format, in which phones and cameras wrap pictures. A brand
# of video, such as `isom`, is not among them.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), "HEIC"),
    **dict.fromkeys((b"hevc", b"hevx", b"hevm", b"hevs"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis", b"avio"), "AVIF"),
    **dict.fromkeys((b"mif1", b"mif2", b"mif3", b"msf1", b"miaf", b"1pic"), "HEIF"),
    b"crx ": "CR3",
    b"jxl ": "JPEG XL",
}
# Formats that are not accepted, by their first bytes.
_SIGNATURES = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"FUJIFILMCCD-RAW", "RAF"),
    (b"IIRO", "ORF"),
    (b"IIRS", "ORF"),
    (b"MMOR", "ORF"),
    (b"IIU\0", "RW2"),
    (b"FOVb", "X3F"),
    (b"\0MRM", "MRW"),
    (b"II\x1a\0\0\0HEAPCCDR", "CRW"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"8BPS", "PSD"),
    (b"gimp xcf", "XCF"),
    (b"qoif", "QOI"),
    (b"icns", "ICNS"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR"),
    (b"\x76\x2f\x31\x01", "EXR"),
    (b"#?RADIANCE", "HDR"),
    (b"DDS ", "DDS"),
    (b"BPG\xfb", "BPG"),
    (b"FLIF", "FLIF"),
    (b"\x8aMNG\r\n\x1a\n", "MNG"),
    (b"AT&TFORM", "DJVU"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
)
_PNM = re.compile(rb"P[1-7][ \t\r\n]")
# A root element <svg> after a byte order mark, an XML header, comments and a document type.
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml|<!DOCTYPE svg|<!--|<svg)", re.IGNORECASE)
_SVG_ROOT = re.compile(rb"<(?:[a-z]+:)?svg[\s>/]", re.IGNORECASE)
# The sizes of the header that follows the 14 bytes of a bitmap file.
_DIB_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def has_decoder(name: str) -> bool:
    """Whether a decoder of a format is installed: for HEIC pillow-heif, for AVIF Pillow's own."""
    if name == "AVIF" and features.check("avif"):
        return True
    return name in FORMATS or importlib.util.find_spec("pillow_heif") is not None


@functools.cache
def accepted(heif: bool = True) -> tuple[str, ...]:
    """The formats that are accepted on this installation.

    Args:
        heif: whether HEIC and AVIF are accepted where their decoders are installed.
    """
    return (*FORMATS, *(name for name in ("HEIC", "AVIF") if heif and has_decoder(name)))


def recognise(data: bytes) -> str | None:
    """The format of an image file, from its first `PREFIX_BYTES` bytes; None: it is no image."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _DIB_HEADERS:
        return "BMP"
    return _other_format(data[:PREFIX_BYTES])


def looks_like_image(prefix: bytes) -> bool:
    """Whether a file with these first bytes is an image, of an accepted format or of another one.

    Args:
        prefix: the first `PREFIX_BYTES` bytes of the file, or all of a smaller one.
    """
    return recognise(prefix) is not None


def is_image_file(path: Path) -> bool:
    """Whether a file is an image by its content.

    A file that cannot be read counts as an image, so that reading it later reports the error.
    """
    try:
        with path.open("rb") as file:
            return looks_like_image(file.read(PREFIX_BYTES))
    except OSError:
        return True


def _other_format(prefix: bytes) -> str | None:
    if prefix[4:8] == b"ftyp":
        return _brand(prefix)
    for signature, name in _SIGNATURES:
        if prefix.startswith(signature):
            return name
    if _PNM.match(prefix):
        return "PPM"
    return "SVG" if _SVG.match(prefix) and _SVG_ROOT.search(prefix) else None


def _brand(prefix: bytes) -> str | None:
    """The format named by the major brand; if it is a general one, by the compatible brands."""
    major = _BRANDS.get(prefix[8:12])
    if major not in (None, "HEIF"):
        return major
    end = min(int.from_bytes(prefix[:4]), len(prefix))
    compatible = [_BRANDS.get(prefix[at : at + 4]) for at in range(16, end, 4)]
    for name in ("AVIF", "HEIC"):
        # A video may name them for its still frames, so the major brand has to be one of images.
        if major and name in compatible:
            return name
    return major
