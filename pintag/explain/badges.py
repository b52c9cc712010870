"""The labels on an overlay: the rank and the weight of each superpixel that is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt

from pintag.core import formatting
from pintag.core.types import Pixels
from pintag.explain import style
from pintag.explain.schema import WeightItem
from pintag.explain.style import HALO, INK, Colour
from pintag.explain.superpixels import Segments
from pintag.explain.surrogate import Scale

# More badges, or badges on a smaller picture, would hide it.
MAX_BADGES, _SMALLEST = 20, 240

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class BadgeStyle:
    """The colours of a badge."""

    ground: Colour
    border: Colour
    ink: Colour


def draw(pixels: Pixels, segments: Segments, chosen: Sequence[WeightItem], scale: Scale) -> Pixels:
    """Draw the badges of the first `MAX_BADGES` chosen superpixels: `uint8[H,W,3]`.

    A badge is in its superpixel, as far from the edge as it can be without covering another one.
    Pictures whose longest side has fewer than 240 pixels have none.

    Args:
        pixels: `uint8[H,W,3]`; not changed.
        segments: `int32[h,w]`, stretched over the picture.
        chosen: most important first.
    """
    height, width = pixels.shape[:2]
    if max(height, width) < _SMALLEST:
        return pixels
    font = style.font(style.font_size(height, width), bold=True)
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    taken: list[Box] = []
    for rank, item in enumerate(chosen[:MAX_BADGES], start=1):
        words = text(rank, item.weight, scale)
        size = _size(words, font)
        if size[0] > width or size[1] > height:
            continue
        box = _place(segments == item.segment, (height, width), size, taken)
        taken.append(box)
        _draw_badge(canvas, box, words, badge_style(item), font)
    return np.asarray(image)


def text(rank: int, weight: float, scale: Scale) -> str:
    """What a badge says: `1: +1.92`."""
    return f"{rank}: {formatting.signed(weight, 3 if scale == 'probability' else 2)}"


def badge_style(item: WeightItem) -> BadgeStyle:
    """A badge has the colour of its superpixel; it is white if the sign is uncertain."""
    colour = style.colour(item.weight)
    if item.direction == "either":
        return BadgeStyle(HALO, colour, INK)
    return BadgeStyle(colour, style.ink_on(colour), style.ink_on(colour))


def _size(words: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """The width and height of a badge, in pixels."""
    return round(font.getlength(words) + font.size), round(1.6 * font.size)


def _place(
    inside: npt.NDArray[np.bool_], picture: tuple[int, int], size: tuple[int, int], taken: list[Box]
) -> Box:
    """The box of a badge: around the deepest pixel of the superpixel where no other badge is."""
    rows, columns = np.nonzero(inside)
    if not len(rows):
        rows, columns = np.zeros((2, 1), np.intp)
    depth = distance_transform_edt(np.pad(inside, 1))[rows + 1, columns + 1]
    height, width = picture
    half_width, half_height = size[0] / 2, size[1] / 2
    # The centre of each pixel in the picture, moved so that the badge is within the picture.
    x = (columns + 0.5) * width / inside.shape[1]
    y = (rows + 0.5) * height / inside.shape[0]
    x, y = x.clip(half_width, width - half_width), y.clip(half_height, height - half_height)
    free = np.ones(len(rows), bool)
    for left, top, right, bottom in taken:
        across = (x + half_width > left) & (x - half_width < right)
        free &= ~(across & (y + half_height > top) & (y - half_height < bottom))
    best = int(np.argmax(np.where(free, depth, depth - 1e6)))
    return (
        x[best] - half_width,
        y[best] - half_height,
        x[best] + half_width,
        y[best] + half_height,
    )


def _draw_badge(
    canvas: ImageDraw.ImageDraw,
    box: Box,
    words: str,
    colours: BadgeStyle,
    font: ImageFont.FreeTypeFont,
) -> None:
    left, top, right, bottom = (round(side) for side in box)
    shape = (left, top, right - 1, bottom - 1)
    radius = (bottom - top) // 2
    canvas.rounded_rectangle(shape, radius, colours.ground, colours.border, width=2)
    middle = (left + right) / 2, (top + bottom) / 2
    canvas.text(middle, words, colours.ink, font, anchor="mm")
