"""Pictures of superpixels: tinted overlays, and segment maps as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_dilation
from skimage.segmentation import find_boundaries

from pintag import images
from pintag.images import DEFAULT_LIMITS, Limits, Pixels
from pintag.superpixels import Segments
from pintag.surrogate import Floats

Signs = npt.NDArray[np.int8]
T = TypeVar("T", bound=np.generic)

# Blue and vermilion of Okabe & Ito's palette, which colour-blind people tell apart.
FOR = (0, 114, 178)
AGAINST = (213, 94, 0)
_TINT, _PALE = 0.3, 0.1
# The longest side of a picture has so many widths of a line; a dash has so many, and so a gap.
_LINES, _DASH = 320, 5
# The longest side of a picture, in pixels.
_SMALLEST, _LARGEST = 480, 1024
_DIM = 0.35


def picture(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Pixels:
    """An encoded image as `uint8[H,W,3]` in its own proportions, of a size to look at.

    Raises:
        ImageError: as `images.decode`.
    """
    whole = Image.fromarray(images.decode(data, limits=limits))
    longest = min(max(*whole.size, _SMALLEST), _LARGEST)
    scale = longest / max(whole.size)
    width, height = (max(1, round(scale * side)) for side in whole.size)
    return np.asarray(whole.resize((width, height), Image.Resampling.BICUBIC))


def show(
    picture: Pixels,
    segments: Segments,
    weights: Floats,
    chosen: Sequence[int],
    claimed: int | None = None,
) -> Pixels:
    """Draw the chosen segments, most important first, on a picture of their image.

    Args:
        claimed: so many of the first are told apart from the rest; the others are pale, and their
            outlines dashed. Nothing is known of it by default.
    """
    doubtful = [] if claimed is None else chosen[claimed:]
    return draw(picture, mask(segments, weights, chosen), np.isin(segments, doubtful))


def draw(picture: Pixels, signs: Signs, doubtful: npt.NDArray[np.bool_] | None = None) -> Pixels:
    """Tint what speaks for the label and against it, outline both, and dim the rest.

    Args:
        picture: `uint8[H,W,3]`.
        signs: `int8[h,w]` of 1, -1 and 0; stretched over the picture.
        doubtful: `bool[h,w]`, what is pale and has dashed outlines.

    Raises:
        ValueError: the picture has floats, whose range nobody knows.
    """
    if picture.dtype != np.uint8:
        raise ValueError(f"a picture to draw on is uint8[H,W,3], not {picture.dtype}")
    height, width = picture.shape[:2]
    line = 1 + max(height, width) // _LINES
    if doubtful is None:
        doubtful = np.zeros(signs.shape, bool)
    doubtful = _stretch(doubtful, height, width)
    gaps = doubtful & _gaps(height, width, _DASH * line)
    tint = np.where(doubtful, _PALE, _TINT)[..., None]
    signs = _stretch(signs, height, width)
    grey = picture.mean(axis=-1, keepdims=True)
    drawn = np.where(signs[..., None] == 0, _DIM * grey + (1 - _DIM) * 24, picture)
    for sign, colour in ((1, FOR), (-1, AGAINST)):
        chosen = signs == sign
        drawn[chosen] += tint[chosen] * (np.asarray(colour) - drawn[chosen])
        outline = chosen & ~gaps & _thick(find_boundaries(chosen, mode="inner"), line)
        # Blue on a dark picture is seen by the white beside it.
        if line > 1:
            drawn[chosen & ~outline & _thick(outline, 2)] = 255
        drawn[outline] = colour
    return drawn.round().astype(np.uint8)


def mask(segments: Segments, weights: Floats, chosen: Sequence[int]) -> Signs:
    """The signs of the chosen segments' weights, where those segments lie: `int8[H,W]`."""
    signs = np.zeros(len(weights), np.int8)
    signs[list(chosen)] = np.sign(weights[list(chosen)])
    placed: Signs = signs[segments]
    return placed


def png(pixels: Pixels) -> bytes:
    """`uint8[H,W,3]` as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=4)
    return file.getvalue()


def segment_map(segments: Segments) -> bytes:
    """Segments as an RGB PNG: a pixel's segment is R + 256 G + 65536 B.

    Three bytes, since a browser's canvas keeps no more than eight bits of a channel.
    """
    digits = [(segments >> shift) & 255 for shift in (0, 8, 16)]
    return png(np.stack(digits, axis=-1).astype(np.uint8))


def read_segment_map(file: bytes) -> Segments:
    """The segments of a `segment_map`: `int32[H,W]`."""
    with Image.open(io.BytesIO(file)) as image:
        digits = np.asarray(image.convert("RGB"), np.int32)
    segments: Segments = digits @ np.array([1, 256, 65536], np.int32)
    return segments


def _stretch(values: npt.NDArray[T], height: int, width: int) -> npt.NDArray[T]:
    """Nearest neighbour, to any size."""
    rows = np.arange(height) * values.shape[0] // height
    columns = np.arange(width) * values.shape[1] // width
    return values[np.ix_(rows, columns)]


def _thick(line: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """What lies less than `width` pixels, up, down or sideways, from a line `bool[H,W]`."""
    return binary_dilation(line, iterations=width - 1) if width > 1 else line


def _gaps(height: int, width: int, dash: int) -> npt.NDArray[np.bool_]:
    """What makes dashes of lines in any direction but one diagonal's: `bool[H,W]`."""
    rows, columns = np.ogrid[:height, :width]
    gaps: npt.NDArray[np.bool_] = (rows + columns) // dash % 2 == 1
    return gaps
