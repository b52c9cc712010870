"""From the bytes people upload to `uint8[H,W,3]`, inside hard limits.

Everything that reads an image goes through `decode`, in training and in serving alike, so the
two cannot disagree about a pixel.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from pintag.errors import ImageError, ImageTooLargeError, NotAnImageError, UnsupportedFormatError

Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
# Pixels from which on decoding takes some 20 ms or more on one core.
_SLOW_JPEG, _SLOW = 16_000_000, 2_000_000
# ISO base media brands of HEIC and AVIF, which phones write: recognised here because Pillow can be
# built without them, and "not an image" would be a wrong answer to a photograph.
_BRANDS = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"avif": "AVIF",
    b"avis": "AVIF",
}
# What sets a picture upright, by its EXIF orientation; 1 is upright already.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hold before anything is decoded: bytes of the file, pixels of the picture."""

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000


DEFAULT_LIMITS = Limits()


def decode(data: bytes, size: int | None = None, limits: Limits = DEFAULT_LIMITS) -> Pixels:
    """Decode an encoded image to `uint8[H,W,3]` RGB; with `size`, to `uint8[size,size,3]`.

    EXIF rotation is applied; of an animation the first frame is taken; transparency lies on
    white; 16-bit samples keep their upper 8 bits. With `size` the picture is squeezed to a
    square, as the networks were trained, and a JPEG is decoded at the smallest DCT scale that
    is not below it.

    Raises:
        ImageTooLargeError: more bytes or pixels than `limits` (checked before decoding).
        UnsupportedFormatError: an image, but not one of `FORMATS`.
        NotAnImageError: anything else, corrupt and truncated images included.
    """
    return Encoded(data, limits).decode(size)


class Encoded:
    """An image of which only the head was read: what it declares, and its pixels on request."""

    def __init__(self, data: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        """Read the head; see `decode` for what it raises."""
        check_bytes(len(data), limits)
        self._limits = limits
        with _as_image_errors(limits):
            self._image = _open(data)
            check_pixels(self._image.size, limits)

    @property
    def is_slow(self) -> bool:
        """Whether decoding takes tens of milliseconds, by the pixels that it declares."""
        width, height = self._image.size
        # Only JPEG can be decoded at a smaller scale.
        return width * height > (_SLOW_JPEG if self._image.format == "JPEG" else _SLOW)

    def decode(self, size: int | None = None) -> Pixels:
        """The pixels, once: see `decode`."""
        with _as_image_errors(self._limits), self._image as image:
            drafted = None if size is None else image.draft(None, (size, size))
            # Here, and not while its EXIF is read, where corrupt pixels would pass for broken EXIF.
            image.load()
            rgb = _to_rgb(image)
            if size is not None:
                # A scaled JPEG may end within a pixel; the box says where.
                box = drafted[1] if drafted else None
                rgb = rgb.resize((size, size), Image.Resampling.BILINEAR, box)
            return np.array(_upright(rgb, image), dtype=np.uint8)


@contextmanager
def _as_image_errors(limits: Limits) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    # Pillow's own guard lies above ours, and is a warning before it is an error.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"at most {limits.max_pixels:,} pixels are accepted") from error
    # Pillow's decoders raise whatever the bytes make them raise: this is the one edge where every
    # kind is caught, so that an upload gives an array or a PintagError and nothing else.
    except Exception as error:
        raise NotAnImageError(f"the image is corrupt ({error or type(error).__name__})") from error


def read(path: Path, size: int | None = None, limits: Limits = DEFAULT_LIMITS) -> Pixels:
    """`decode` of a file; an `ImageError` names the file."""
    try:
        check_bytes(path.stat().st_size, limits)
        return decode(path.read_bytes(), size, limits)
    except ImageError as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise NotAnImageError(f"{path}: cannot be read: {error.strerror or error}") from error


def check_bytes(count: int, limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse an encoded image of more than `limits.max_bytes`, or of none."""
    if count > limits.max_bytes:
        raise ImageTooLargeError(f"{count:,} bytes; at most {limits.max_bytes:,} are accepted")
    if count == 0:
        raise NotAnImageError("no bytes: the image is empty")


def check_pixels(size: tuple[int, int], limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse a picture of more than `limits.max_pixels`, by the width and height it declares."""
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"{width}x{height} pixels; at most {limits.max_pixels:,} in all are accepted"
        )


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        accepted = ", ".join(FORMATS)
        if name := _foreign_format(data):
            raise UnsupportedFormatError(f"{name} is not accepted; send {accepted}") from error
        raise NotAnImageError(f"not an image, or a corrupt one; send {accepted}") from error


def _foreign_format(data: bytes) -> str | None:
    """The name of an image format that is not among `FORMATS`, by the first bytes alone."""
    # The accept functions index into the prefix, and fail on a shorter one.
    prefix = data[:16].ljust(16, b"\0")
    if prefix[4:8] == b"ftyp" and prefix[8:12] in _BRANDS:
        return _BRANDS[prefix[8:12]]
    Image.init()
    for name, (_, accept) in Image.OPEN.items():
        # A plugin's accept function looks at the prefix only; it parses nothing.
        if name not in FORMATS and accept is not None and accept(prefix) is True:
            return name
    return None


def _upright(rgb: Image.Image, image: Image.Image) -> Image.Image:
    """Turn the pixels of an image as its EXIF says."""
    # Not ImageOps.exif_transpose, which writes the EXIF anew and then fails on a broken tag that
    # has nothing to do with the orientation.
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    # Broken EXIF is common in good photographs; it must not cost the picture.
    except Exception:
        return rgb
    return rgb if turn is None else rgb.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16-bit samples at 255 instead of scaling them.
        samples = np.asarray(image)
        transparent = samples == image.info.get("transparency")
        image = Image.fromarray(np.where(transparent, 255, samples >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")
