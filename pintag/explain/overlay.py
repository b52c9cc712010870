"""Superpixels as pictures: overlays on an image, and segment maps as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from pintag.core.types import Floats, Pixels
from pintag.explain import badges
from pintag.explain.schema import WeightItem
from pintag.explain.style import AGAINST, FOR, HALO, INK
from pintag.explain.superpixels import Segments
from pintag.explain.surrogate import Scale
from pintag.images import decoding
from pintag.images.decoding import DEFAULT_LIMITS
from pintag.images.limits import ImageLimits

Signs = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

_TINT, _PALE_TINT = 0.35, 0.15
# The share of its own colour that a chosen segment keeps. An orange tint on an orange picture, or
# a blue one on a blue picture, shows only where the picture is less colourful than the tint.
_SATURATION = 0.3
# The longest side of a picture is 320 times the width of a line; a dash is 5 times as long.
_LINES, _DASH = 320, 5
# The longest side of a picture, in pixels.
_SMALLEST, _LARGEST = 480, 1024
_DIM = 0.35


def picture(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Pixels:
    """Decode an image with its original proportions, scaled for viewing: `uint8[H,W,3]`.

    The longest side has 480 to 1,024 pixels.

    Raises:
        ImageError: see `decoding.decode`.
    """
    whole = Image.fromarray(decoding.decode(data, limits=limits, longest=_LARGEST))
    longest = min(max(*whole.size, _SMALLEST), _LARGEST)
    scale = longest / max(whole.size)
    width, height = (max(1, round(scale * side)) for side in whole.size)
    return np.asarray(whole.resize((width, height), Image.Resampling.BICUBIC))


def show(
    picture: Pixels,
    segments: Segments,
    chosen: Sequence[WeightItem],
    scale: Scale,
    claimed: int | None = None,
) -> Pixels:
    """Draw the chosen segments, with their ranks and weights, on a picture of their image.

    Args:
        picture: `uint8[H,W,3]`
        segments: `int32[h,w]`
        chosen: most important first.
        scale: the unit of the weights.
        claimed: how many of the first segments rank above the rest. The others are drawn pale,
            with dashed outlines. None: draw all of them in the same way.
    """
    count = 1 + max((int(segments.max()), *(item.segment for item in chosen)))
    weights, ranks = np.zeros(count), np.zeros(count, np.int32)
    for rank, item in enumerate(chosen, start=1):
        weights[item.segment], ranks[item.segment] = item.weight, rank
    regions = ranks[segments]
    signs = mask(segments, weights, [item.segment for item in chosen])
    uncertain = regions > (len(chosen) if claimed is None else claimed)
    return badges.draw(draw(picture, signs, uncertain, regions), segments, chosen, scale)


def draw(
    picture: Pixels,
    signs: Signs,
    uncertain: Mask | None = None,
    regions: Segments | None = None,
) -> Pixels:
    """Tint and outline the evidence for and against a label, and dim the rest: `uint8[H,W,3]`.

    Args:
        picture: `uint8[H,W,3]`
        signs: `int8[h,w]`, 1 for, -1 against, 0 the rest; stretched over the picture.
        uncertain: `bool[h,w]`, what is pale and has dashed outlines.
        regions: `int32[h,w]`, a number for each part that has an outline of its own. None: parts
            of the same sign that touch have one outline.

    Raises:
        ValueError: the picture is not `uint8`; the range of floats is unknown.
    """
    if picture.dtype != np.uint8:
        raise ValueError(f"expected a picture as uint8[H,W,3], got {picture.dtype}")
    height, width = picture.shape[:2]
    line = 1 + max(height, width) // _LINES
    if uncertain is None:
        uncertain = np.zeros(signs.shape, bool)
    parts = _stretch(signs.astype(np.int32) if regions is None else regions, height, width)
    uncertain = _stretch(uncertain, height, width)
    signs = _stretch(signs, height, width)
    drawn = _tint(picture, signs, uncertain)
    _outline(drawn, signs, parts, uncertain & _gaps(height, width, _DASH * line), line)
    return drawn


def mask(segments: Segments, weights: Floats, chosen: Sequence[int]) -> Signs:
    """The sign of the weight at each pixel of the chosen segments, 0 elsewhere: `int8[H,W]`."""
    signs = np.zeros(len(weights), np.int8)
    signs[list(chosen)] = np.sign(weights[list(chosen)])
    result: Signs = signs[segments]
    return result


def png(pixels: Pixels) -> bytes:
    """Encode `uint8[H,W,3]` as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=4)
    return file.getvalue()


def jpeg(pixels: Pixels) -> bytes:
    """Encode `uint8[H,W,3]` as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def segment_map(segments: Segments) -> bytes:
    """Encode segments as an RGB PNG: a pixel's segment is R + 256 G + 65536 B.

    It uses three channels because a browser's canvas keeps only eight bits of each.
    """
    digits = [(segments >> shift) & 255 for shift in (0, 8, 16)]
    return png(np.stack(digits, axis=-1).astype(np.uint8))


def read_segment_map(file: bytes) -> Segments:
    """Decode a `segment_map`: `int32[H,W]`.

    Raises:
        OSError: the file is not an image.
    """
    with Image.open(io.BytesIO(file)) as image:
        digits = np.asarray(image.convert("RGB"), np.int32)
    segments: Segments = digits @ np.array([1, 256, 65536], np.int32)
    return segments


def _tint(picture: Pixels, signs: Signs, uncertain: Mask) -> Pixels:
    """Mix chosen pixels with the colour of their sign, and turn the others into dark grey."""
    grey = picture.mean(axis=-1, dtype=np.float32).round().astype(np.uint8)
    drawn = np.repeat((_DIM * grey + (1 - _DIM) * 24).astype(np.uint8)[..., None], 3, axis=-1)
    for sign, colour in ((1, FOR), (-1, AGAINST)):
        for tint, shown in ((_TINT, ~uncertain), (_PALE_TINT, uncertain)):
            chosen = shown & (signs == sign)
            own = _SATURATION * picture[chosen] + (1 - _SATURATION) * grey[chosen][:, None]
            mixed = own + tint * (np.array(colour) - own)
            drawn[chosen] = mixed.round()
    return drawn


def _outline(
    drawn: Pixels,
    signs: Signs,
    regions: npt.NDArray[np.integer],
    gaps: Mask,
    line: int,
) -> None:
    """Draw a coloured line along the inner edge of each region, between white and black lines.

    One of the two differs from any picture: white from pictures of the line's colour and from the
    dark rest, black from pale pictures. Where lines are one pixel wide there is no room for them.
    """
    # Two regions of the same sign share a line.
    edge = (signs != 0) & (_differs(signs, line) | _differs(regions, max(1, line // 2)))
    halo = line // 2
    if halo:
        drawn[_grow(edge, halo + max(1, line // 3))] = INK
    drawn[_grow(edge, halo)] = HALO
    for sign, colour in ((1, FOR), (-1, AGAINST)):
        drawn[edge & ~gaps & (signs == sign)] = colour


def _differs(values: npt.NDArray[np.integer], width: int) -> Mask:
    """Which pixels have another value at most `width` pixels away, diagonally too: `bool[H,W]`."""
    size = 2 * width + 1
    highest = lowest = values
    for axis in (0, 1):
        highest = maximum_filter1d(highest, size, axis=axis, mode="nearest")
        lowest = minimum_filter1d(lowest, size, axis=axis, mode="nearest")
    different: Mask = highest != lowest
    return different


def _stretch(values: npt.NDArray[T], height: int, width: int) -> npt.NDArray[T]:
    """Resize by nearest neighbour."""
    rows = np.arange(height) * values.shape[0] // height
    columns = np.arange(width) * values.shape[1] // width
    return values[np.ix_(rows, columns)]


def _grow(mask: Mask, width: int) -> Mask:
    """Extend `bool[H,W]` by `width` pixels in every direction, diagonals included."""
    size = 2 * width + 1
    rows = maximum_filter1d(mask.view(np.uint8), size, axis=0, mode="constant")
    grown: Mask = maximum_filter1d(rows, size, axis=1, mode="constant").view(np.bool_)
    return grown


def _gaps(height: int, width: int, dash: int) -> Mask:
    """Diagonal stripes that turn a line of nearly any direction into dashes: `bool[H,W]`."""
    rows, columns = np.ogrid[:height, :width]
    gaps: Mask = (rows + columns) // dash % 2 == 1
    return gaps
