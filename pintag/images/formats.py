"""Recognise an image format by the first bytes of a file.

The content decides, never the ending of a file's name: phones and browsers misname pictures.
"""

from __future__ import annotations

import codecs
import functools
import importlib.util
import re
import zlib
from pathlib import Path

from PIL import features

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""The formats that are always accepted."""
OPTIONAL_FORMATS = ("HEIC", "HEIF", "AVIF")
"""The formats that are accepted where a decoder is installed; see `accepted`."""
PREFIX_BYTES = 8192
"""How many bytes of a file are enough to recognise its format: an SVG begins with a licence."""

# The brands of the ISO base media file format, in which phones and cameras wrap pictures. A brand
# of video, such as `isom`, is not among them.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), "HEIC"),
    **dict.fromkeys((b"hevc", b"hevx", b"hevm", b"hevs"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis", b"avio"), "AVIF"),
    **dict.fromkeys((b"mif1", b"mif2", b"mif3", b"msf1", b"miaf", b"1pic", b"unif"), "HEIF"),
    **dict.fromkeys((b"MiHE", b"MiHB", b"MiHA", b"MiPr"), "HEIF"),
    **dict.fromkeys((b"avci", b"avcs"), "HEIF with AVC"),
    **dict.fromkeys((b"jpeg", b"jpgs"), "HEIF with JPEG"),
    **dict.fromkeys((b"j2ki", b"j2is"), "HEIF with JPEG2000"),
    **dict.fromkeys((b"vvic", b"vvis"), "HEIF with VVC"),
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
    (b"\x76\x2f\x31\x01", "EXR"),
    (b"#?RADIANCE", "HDR"),
    (b"DDS ", "DDS"),
    (b"BPG\xfb", "BPG"),
    (b"FLIF", "FLIF"),
    (b"\x8aMNG\r\n\x1a\n", "MNG"),
    (b"AT&TFORM", "DJVU"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%!PS", "EPS"),
    (b"SIMPLE  =", "FITS"),
    (b"\xabKTX 11\xbb\r\n\x1a\n", "KTX"),
    (b"\xabKTX 20\xbb\r\n\x1a\n", "KTX"),
    (b"%PDF-", "PDF"),
    (b"\x01\xda\0", "SGI"),
    (b"\x01\xda\1", "SGI"),
    (b"\x59\xa6\x6a\x95", "RAS"),
    (b"SDPX", "DPX"),
    (b"XPDS", "DPX"),
    (b"\x80\x2a\x5f\xd7", "CIN"),
    (b"\x8bJNG\r\n\x1a\n", "JNG"),
    (b"Paint Shop Pro Image File", "PSP"),
    (b"BLP1", "BLP"),
    (b"BLP2", "BLP"),
    (b"\x13\xab\xa1\x5c", "ASTC"),
    (b"/* XPM */", "XPM"),
)
# The signatures of accepted formats, and how many bytes of one are enough to recognise it.
_BEGINNINGS = (
    (b"\xff\xd8\xff", 2, "JPEG"),
    (b"\x89PNG\r\n\x1a\n", 2, "PNG"),
    (b"GIF87a", 4, "GIF"),
    (b"GIF89a", 4, "GIF"),
)
# Documents are named when somebody sends one, but are not images among the files of a folder.
_DOCUMENTS = ("PDF",)
_PNM = re.compile(rb"P[1-7Ff][ \t\r\n]")
_XBM = re.compile(rb"#define \w+_width \d+\s+#define \w+_height \d+\s")
# A root element <svg> after a byte order mark, an XML header, comments and a document type. No part
# is tried again in another way, so the time does not grow with the number of comments.
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?"
    rb"(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>)*+"
    rb"<(?:[a-z]+:)?svg[\s>/]",
    re.IGNORECASE | re.DOTALL,
)
# The sizes of the header that follows the 14 bytes of a bitmap file.
_DIB_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


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
    """The format of an image file, from its first `PREFIX_BYTES` bytes; None: it has none."""
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


def begun(data: bytes) -> str | None:
    """The format of a file that ends within the signature at its beginning; None: unknown.

    A few bytes may be text, so they must be a part of the signature that no text has.
    """
    for signature, least, name in _BEGINNINGS:
        if least <= len(data) and signature.startswith(data):
            return name
    return None


def looks_like_image(prefix: bytes) -> bool:
    """Whether a file with these first bytes is an image, of an accepted format or of another one.

    Args:
        prefix: the first `PREFIX_BYTES` bytes of the file, or all of a smaller one.
    """
    return recognise(prefix) not in (None, *_DOCUMENTS)


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
    if _XBM.match(prefix):
        return "XBM"
    return _by_fields(prefix) or ("SVG" if _is_svg(prefix) else None)


def _by_fields(prefix: bytes) -> str | None:
    """The format of a file that begins with no signature, by the fields of its header."""
    if prefix.startswith(b"BA") and prefix[14:16] == b"BM":
        return "BMP array"
    if prefix[128:132] == b"DICM":
        return "DICOM"
    if prefix.startswith(b"\1\0\0\0") and prefix[40:44] == b" EMF":
        return "EMF"
    if prefix[:1] == b"\n" and prefix[2:3] == b"\1" and prefix[1:2] in b"\0\2\3\4\5":
        return "PCX"
    # The number of pictures is not zero, as its bytes are in most files of TGA.
    if prefix[:4] in (b"\0\0\1\0", b"\0\0\2\0") and any(prefix[4:6]):
        return "ICO" if prefix[2] == 1 else "CUR"
    return "TGA" if _is_tga(prefix) else None


def _is_tga(prefix: bytes) -> bool:
    """Whether all fields of a header of 18 bytes have values that TGA allows."""
    if len(prefix) < 18:
        return False
    has_palette, kind, palette = prefix[1], prefix[2], prefix[3:8]
    kinds = (1, 9) if has_palette else (2, 3, 10, 11)
    return (
        has_palette in (0, 1)
        and kind in kinds
        and any(palette) == bool(has_palette)
        and any(prefix[12:14])
        and any(prefix[14:16])
        and prefix[16] in (1, 8, 15, 16, 24, 32)
        and prefix[17] < 64
    )


def _is_svg(prefix: bytes) -> bool:
    """Whether this is an SVG, perhaps in UTF-16, or compressed (`.svgz`)."""
    if prefix.startswith(b"\x1f\x8b"):
        try:
            prefix = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(prefix, PREFIX_BYTES)
        except zlib.error:
            return False
    if prefix.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        prefix = prefix.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return _SVG.match(prefix) is not None


def _brand(prefix: bytes) -> str | None:
    """The format named by the major brand; if it is a general one, by the compatible brands."""
    major = _BRANDS.get(prefix[8:12])
    # A video may name them for its still frames, so the major brand has to be one of images.
    if major != "HEIF":
        return major
    end = min(int.from_bytes(prefix[:4]), len(prefix))
    compatible = {_BRANDS.get(prefix[at : at + 4]) for at in range(16, end, 4)}
    special = sorted(name for name in compatible - {"AVIF", "HEIC", "HEIF"} if name)
    return next((name for name in ("AVIF", "HEIC", *special) if name in compatible), major)
