"""Decode the pixels of an image with Pillow. It takes as long, and as much memory, as it takes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
    features,
)

from pintag.core.errors import DecodingError, ImageError, ImageTooLargeError
from pintag.core.types import Pixels
from pintag.images import exif, formats, header_reader
from pintag.images.header import Header, damaged
from pintag.images.limits import ImageLimits

# The transposition that undoes each EXIF orientation; orientation 1 is upright.
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# How the decoders say that a file ends too early.
_ENDS = re.compile("truncated|unexpected end|not enough image data", re.IGNORECASE)
# What Pillow adds to the reason of a decoder.
_READING = " when reading image file"
# How Pillow says that it knows no such bitmap: its masks, header, depth or compression.
_NO_SUCH_BITMAP = "Unsupported BMP"
# How libheif says that it lacks a codec: the brand of a file need not be that of its pixels.
_NO_CODEC = "has not been built in"
_OPENERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    # Not Pillow's own choice between JPEG and MPO: the first picture of an MPO is a JPEG.
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}


def decode(
    data: bytes, header: Header, limits: ImageLimits, size: int | None, longest: int | None
) -> Pixels:
    """Decode an image whose header has been read; see `decoding.decode`.

    Raises:
        ImageError: see `decoding.decode`.
    """
    with (
        as_image_errors(limits, header.format),
        _open(header.format, header.pixel_data(data)) as image,
    ):
        # The header may be unknown, or be read differently by Pillow.
        limits.check_declared(image.size)
        smallest = _draft_size(image.size, size, longest)
        drafted = image.draft(None, smallest) if smallest else None
        limits.check_decoded(_decoded_size(image, header))
        # Load the pixels here: what follows must not be taken for a fault of the file.
        image.load()
        _correct_colour_key(image, header.colour_key)
        rgb = _on_white(image, _to_rgb(image))
        if size is not None:
            # The size of a scaled JPEG is rounded up; the box is its exact size.
            box = drafted[1] if drafted else None
            rgb = rgb.resize((size, size), Image.Resampling.BILINEAR, box)
        return np.array(_upright(rgb, header.exif or image.info.get("exif")), dtype=np.uint8)


@contextmanager
def as_image_errors(limits: ImageLimits, name: str) -> Iterator[None]:
    """Turn every error of Pillow into an `ImageError` that has the format's name."""
    try:
        yield
    except ImageError:
        raise
    # Pillow has its own limit: above it there is a warning, and later an error.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(
            f"at most {limits.max_decoded_pixels:,} pixels are accepted"
        ) from error
    except MemoryError as error:
        raise DecodingError("the image takes more memory than there is to decode") from error
    # Pillow's decoders raise many kinds of exceptions for corrupt data. All are caught here: an
    # upload gives either an array or a PintagError.
    except Exception as error:
        if _NO_CODEC in str(error):
            raise header_reader.unsupported(f"{name} with another codec") from error
        raise damaged(name, _reason(error)) from error


def _reason(error: Exception) -> str:
    """What is wrong with a file, in one line; that it ends too early in the same words always."""
    text = str(error).strip()
    if _ENDS.search(text):
        return "the file ends in its pixels"
    return text.partition("\n")[0].removesuffix(_READING) or "its pixels cannot be decoded"


def _open(name: str, data: bytes) -> Image.Image:
    opener = _OPENERS.get(name) or _optional_opener(name)
    try:
        return opener(io.BytesIO(data))
    except (SyntaxError, ValueError, OSError) as error:
        if str(error).startswith(_NO_SUCH_BITMAP):
            raise header_reader.unsupported(
                "BMP with unusual masks, header or compression"
            ) from error
        raise damaged(name, "it cannot be opened") from error


def _optional_opener(name: str) -> Callable[[io.BytesIO], Image.Image]:
    if not formats.has_decoder(name):
        raise header_reader.unsupported(name)
    if name == "AVIF" and features.check("avif"):
        from PIL import AvifImagePlugin

        # Threads would count as memory, and a decoder has the share of one core.
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        return AvifImagePlugin.AvifImageFile
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1
    opener: Callable[[io.BytesIO], Image.Image] = pillow_heif.HeifImageFile
    return opener


def _draft_size(
    whole: tuple[int, int], size: int | None, longest: int | None
) -> tuple[int, int] | None:
    """The smallest size at which a JPEG may be decoded."""
    if size is not None:
        return size, size
    if longest is None:
        return None
    scale = min(1.0, longest / max(whole))
    return max(1, int(scale * whole[0])), max(1, int(scale * whole[1]))


def _decoded_size(image: Image.Image, header: Header) -> tuple[int, int]:
    return header.size if header.is_buffered and header.size else image.size


def _upright(rgb: Image.Image, block: bytes | None) -> Image.Image:
    """Apply the EXIF orientation to the pixels."""
    transposition = _TRANSPOSITIONS.get(exif.orientation(block)) if block else None
    return rgb if transposition is None else rgb.transpose(transposition)


def _correct_colour_key(image: Image.Image, key: tuple[int, ...] | None) -> None:
    """Put the transparent colour into the range of the samples; see `png_header`."""
    # A picture of mode "1" has it right, and one of 16 bits has all its samples.
    if key and image.mode in ("L", "RGB"):
        image.info["transparency"] = key if image.mode == "RGB" else key[0]


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow's conversion clips 16-bit samples to 255 instead of scaling them.
        samples = np.asarray(image)
        transparent = samples == image.info.get("transparency")
        image = Image.fromarray(np.where(transparent, 255, samples >> 8).astype(np.uint8))
    if image.has_transparency_data and not _has_empty_mask(image):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image, rgb: Image.Image) -> Image.Image:
    """White around a GIF's first frame that does not cover its screen, as in browsers."""
    if not isinstance(image, GifImagePlugin.GifImageFile):
        return rgb
    frame = image.dispose_extent
    if frame is None or frame == (0, 0, *image.size):
        return rgb
    screen = Image.new("RGB", image.size, "white")
    screen.paste(rgb.crop(frame), frame[:2])
    return screen


def _has_empty_mask(image: Image.Image) -> bool:
    """Whether it is a bitmap whose alpha is 0 everywhere: programs leave it so, and show it."""
    return image.format == "BMP" and image.mode == "RGBA" and not image.getchannel("A").getbbox()
