"""A figure of an explanation: its overlay with a title above it and a legend below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pintag.core import formatting
from pintag.core.types import Pixels
from pintag.explain import badges, style
from pintag.explain.schema import ExplanationAnswer
from pintag.explain.style import AGAINST, FOR, INK, Colour

Swatch = Literal["filled", "dashed", "rank"]

_PAPER, _REST = (255, 255, 255), (75, 75, 75)
# Below this width a title has no room; narrower pictures are centred.
_MIN_WIDTH = 400
# A label may be any text. Longer ones are cut.
_MAX_LABEL = 30


@dataclass(frozen=True)
class LegendItem:
    """A colour or a mark, and its meaning."""

    text: str
    colour: Colour
    swatch: Swatch = "filled"


@dataclass(frozen=True)
class Layout:
    """The sizes in a figure, in pixels. They depend on the size of the picture alone."""

    height: int
    width: int

    @property
    def font(self) -> int:
        """The font's size."""
        return style.font_size(self.height, self.width)

    @property
    def padding(self) -> int:
        """The space between the edge of the figure and its text, and between two texts."""
        return round(0.6 * self.font)

    @property
    def row(self) -> int:
        """The height of a line of text."""
        return round(1.5 * self.font)

    @property
    def full_width(self) -> int:
        """The width of the figure."""
        return max(self.width, _MIN_WIDTH)

    @property
    def origin(self) -> tuple[int, int]:
        """The left and top edge of the picture in the figure."""
        return (self.full_width - self.width) // 2, 2 * self.padding + self.row


def compose(drawn: Pixels, answer: ExplanationAnswer) -> Pixels:
    """Add the title and the legend of an explanation to its overlay.

    Args:
        drawn: the overlay, `uint8[H,W,3]`; it is copied unchanged to `Layout.origin`.

    Returns:
        `uint8[H',W',3]`
    """
    layout = Layout(*drawn.shape[:2])
    font, bold = style.font(layout.font), style.font(layout.font, bold=True)
    rows = list(_wrapped(legend(answer), font, layout))
    left, top = layout.origin
    bottom = top + layout.height + layout.padding
    height = bottom + len(rows) * layout.row + layout.padding
    image = Image.new("RGB", (layout.full_width, height), _PAPER)
    image.paste(Image.fromarray(drawn), (left, top))
    canvas = ImageDraw.Draw(image)
    text = _shortened(title(answer), bold, layout.full_width - 2 * layout.padding)
    middle = layout.padding + layout.row // 2
    canvas.text((layout.padding, middle), text, INK, bold, anchor="lm")
    for number, row in enumerate(rows):
        _draw_row(canvas, row, bottom + number * layout.row, font, layout)
    return np.asarray(image)


def title(answer: ExplanationAnswer) -> str:
    """The label, the model's probability of it, and the mode."""
    probability = formatting.percent(answer.confidence)
    return f"{_short_label(answer)}: probability {probability}, {answer.mode} mode"


def legend(answer: ExplanationAnswer) -> list[LegendItem]:
    """The meaning of each colour and mark that the overlay of this explanation has."""
    label, drawn = _short_label(answer), answer.drawn
    items = []
    if drawn:
        which = f" of the first {badges.MAX_BADGES}" if len(drawn) > badges.MAX_BADGES else ""
        unit = answer.surrogate.scale
        items.append(LegendItem(f"rank and weight ({unit}){which}", INK, "rank"))
    if any(item.weight > 0 for item in drawn):
        items.append(LegendItem(f"evidence for {label}", FOR))
    if any(item.weight < 0 for item in drawn):
        items.append(LegendItem(f"evidence against {label}", AGAINST))
    if any(item.direction == "either" for item in drawn[: badges.MAX_BADGES]):
        items.append(LegendItem("white number: may be either", _PAPER))
    if answer.claimed is not None and answer.claimed < len(drawn):
        items.append(LegendItem("pale, dashed: the rank is uncertain", INK, "dashed"))
    if len(drawn) < len(answer.weights):
        items.append(LegendItem("dark: less important", _REST))
    return items


def _short_label(answer: ExplanationAnswer) -> str:
    """The label in one line, without control characters, for which fonts have no glyphs."""
    label = "".join(letter if letter.isprintable() else " " for letter in answer.label)
    return label if len(label) <= _MAX_LABEL else label[:_MAX_LABEL] + "…"


def _wrapped(
    items: Sequence[LegendItem], font: ImageFont.FreeTypeFont, layout: Layout
) -> Iterator[list[LegendItem]]:
    """The items in rows that fit the figure; an item that is too long has its own row."""
    row: list[LegendItem] = []
    used = layout.padding
    for item in items:
        width = _width(item, font, layout)
        if row and used + width > layout.full_width:
            yield row
            row, used = [], layout.padding
        row.append(item)
        used += width
    yield row


def _width(item: LegendItem, font: ImageFont.FreeTypeFont, layout: Layout) -> int:
    """The width of an item with its swatch and the space after it, in pixels."""
    return layout.font + round(font.getlength(item.text)) + 3 * layout.padding


def _draw_row(
    canvas: ImageDraw.ImageDraw,
    row: Sequence[LegendItem],
    top: int,
    font: ImageFont.FreeTypeFont,
    layout: Layout,
) -> None:
    left, middle = layout.padding, top + layout.row // 2
    for item in row:
        _draw_swatch(canvas, item, left, middle - layout.font // 2, layout.font)
        start = left + layout.font + layout.padding
        text = _shortened(item.text, font, layout.full_width - start - layout.padding)
        canvas.text((start, middle), text, INK, font, anchor="lm")
        left += _width(item, font, layout)


def _draw_swatch(
    canvas: ImageDraw.ImageDraw, item: LegendItem, left: int, top: int, side: int
) -> None:
    box = (left, top, left + side - 1, top + side - 1)
    if item.swatch == "rank":
        canvas.rounded_rectangle(box, side // 2, INK)
        middle = (left + side / 2, top + side / 2)
        canvas.text(middle, "1", _PAPER, style.font(max(9, 2 * side // 3), bold=True), anchor="mm")
        return
    if item.swatch == "filled":
        canvas.rectangle(box, item.colour, INK if item.colour == _PAPER else None)
        return
    canvas.rectangle(box, _PAPER, item.colour, width=2)
    # Three gaps on each side make the outline dashed.
    gap = max(2, side // 7)
    for start in range(gap, side - gap, 2 * gap):
        canvas.rectangle((left + start, top, left + start + gap - 1, top + side - 1), _PAPER)
        canvas.rectangle((left, top + start, left + side - 1, top + start + gap - 1), _PAPER)


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text, or as much of its beginning as fits into `width` pixels."""
    if font.getlength(text) <= width:
        return text
    count = len(text)
    while count and font.getlength(text[:count] + "…") > width:
        count -= 1
    return text[:count] + "…"
