"""Draw synthetic images: a figure for each label, on a random background with clutter.

The classes differ in shape only: colours, backgrounds and clutter of all classes come from the same
distributions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from pintag.core.errors import DataError
from pintag.core.types import Floats

# Figures are drawn this many times larger and averaged down: anti-aliasing.
_OVERSAMPLING = 2

Ink = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Pen:
    """Draws in a figure's coordinates: x to the right, y down, both from -1 to 1."""

    canvas: ImageDraw.ImageDraw
    rng: np.random.Generator
    inks: list[Ink]
    """Five distinct colours; a figure refers to them by their indices 0 to 4."""
    frame: Floats
    """float[3,2]: the x axis, the y axis and the origin of the figure, in pixels."""

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        """A random whole number, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def polygon(self, points: npt.ArrayLike, ink: int) -> None:
        self.canvas.polygon(self._pixels(points), fill=self.inks[ink])

    def box(self, left: float, top: float, right: float, bottom: float, ink: int) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], ink)

    def oval(
        self, x: float, y: float, wide: float, high: float, ink: int, corners: int = 24
    ) -> None:
        """An ellipse around (x, y) with these half axes; with few `corners`, a polygon."""
        turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        self.polygon(np.column_stack([x + wide * np.cos(turn), y + high * np.sin(turn)]), ink)

    def stroke(self, points: npt.ArrayLike, width: float, ink: int) -> None:
        pixels = max(1, round(width * float(np.hypot(*self.frame[0]))))
        self.canvas.line(self._pixels(points), fill=self.inks[ink], width=pixels, joint="curve")

    def grid(self, corners: tuple[float, float, float, float], across: int, down: int) -> None:
        """Boxes in `across` columns and `down` rows between (left, top, right, bottom), ink 4."""
        left, top, right, bottom = corners
        wide, high = (right - left) / across, (bottom - top) / down
        for column, row in np.ndindex(across, down):
            x, y = left + (column + 0.15) * wide, top + (row + 0.15) * high
            self.box(x, y, x + 0.7 * wide, y + 0.7 * high, 4)

    def _pixels(self, points: npt.ArrayLike) -> list[float]:
        pixels: list[float] = (np.asarray(points) @ self.frame[:2] + self.frame[2]).ravel().tolist()
        return pixels


def _animals(pen: _Pen) -> None:
    """A body on four legs with a tail, and a head with pointed ears, eyes and a mouth."""
    long, head, leg = pen.between(0.5, 0.7), pen.between(0.24, 0.34), pen.between(0.6, 0.9)
    for foot in (-0.75, -0.45, 0.45, 0.75):
        pen.stroke([(foot * long, 0.1), (foot * long, leg)], 0.13, 0)
    pen.stroke([(-long, 0), (-long - 0.2, -0.2), (-long - 0.2, -pen.between(0.3, 0.7))], 0.1, 0)
    pen.oval(0, 0.1, long, pen.between(0.25, 0.38), 0)
    x, y, ear = long, -pen.between(0.3, 0.5), pen.between(1.5, 2.5) * head
    for side in (-head, head):
        pen.polygon([(x + side, y), (x + 0.8 * side, y - ear), (x, y - 0.7 * head)], 1)
    pen.oval(x, y, head, head, 0)
    for side in (-head, head):
        pen.oval(x + 0.4 * side, y - 0.1 * head, 0.2 * head, 0.2 * head, 2)
    pen.oval(x, y + 0.45 * head, 0.3 * head, 0.2 * head, 3)


def _art(pen: _Pen) -> None:
    """A frame around a canvas with curved strokes of the brush, one over the other."""
    wide, high, rim = pen.between(0.65, 1.0), pen.between(0.65, 1.0), pen.between(0.08, 0.2)
    pen.box(-wide, -high, wide, high, 0)
    pen.box(rim - wide, rim - high, wide - rim, high - rim, 1)
    t = np.linspace(0, 1, 9)[:, None]
    for _ in range(pen.count(4, 8)):
        a, b, c = pen.rng.uniform(-0.7, 0.7, (3, 2)) * (wide, high)
        curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        pen.stroke(curve, pen.between(0.05, 0.22), pen.count(2, 4))


def _automobiles(pen: _Pen) -> None:
    """A body on two wheels, a cabin with two windows, a lamp."""
    belt, roof, wheel = pen.between(-0.15, 0.1), -pen.between(0.35, 0.6), pen.between(0.18, 0.28)
    left, right, slope = -pen.between(0.4, 0.8), pen.between(0.15, 0.6), pen.between(0.05, 0.2)
    pen.polygon([(left - slope, belt), (left, roof), (right, roof), (right + slope, belt)], 0)
    pen.box(left + 0.04, roof + 0.1, (left + right) / 2 - 0.04, belt, 1)
    pen.box((left + right) / 2 + 0.04, roof + 0.1, right - 0.04, belt, 1)
    pen.box(-1, belt, 1, 0.5, 0)
    pen.box(0.85, belt + 0.1, 1, belt + 0.22, 2)
    for x in (-pen.between(0.5, 0.65), pen.between(0.5, 0.65)):
        pen.oval(x, 0.5, wheel, wheel, 3)
        pen.oval(x, 0.5, wheel / 2, wheel / 2, 4)


def _fashion(pen: _Pen) -> None:
    """A shirt or, where the hem is wide, a dress: sleeves, neckline, perhaps a belt, buttons."""
    shoulder, waist, hem = pen.between(0.4, 0.6), pen.between(0.25, 0.45), pen.between(0.3, 0.9)
    reach, drop, low = pen.between(0.1, 0.5), pen.between(-0.7, 0.1), pen.between(0.6, 1.0)
    for side in (-1, 1):
        pen.stroke([(side * (shoulder - 0.1), -0.78), (side * (shoulder + reach), drop)], 0.28, 0)
    neck, edge = pen.between(-0.75, -0.45), np.array([(0.2, -0.92), (shoulder, -0.85)])
    half = np.vstack([edge, (waist, 0), (hem, low)])
    pen.polygon(np.vstack([(0, neck), half, (half * (-1, 1))[::-1]]), 0)
    if pen.count(0, 1):
        pen.box(-waist, -0.06, waist, 0.06, 1)
    for y in np.linspace(neck + 0.15, low - 0.1, pen.count(3, 6)):
        pen.oval(0, y, 0.05, 0.05, 2)


def _food(pen: _Pen) -> None:
    """A plate, seen at a slant, with shining round things on it, perhaps a knife beside it."""
    flat, rim = pen.between(0.6, 1.0), pen.between(0.65, 0.8)
    pen.oval(0, 0, 0.95, 0.95 * flat, 0)
    pen.oval(0, 0, rim, rim * flat, 1)
    for turn in pen.between(0, 6) + np.linspace(0, 2 * np.pi, pen.count(3, 6), endpoint=False):
        x, y, size = 0.38 * np.cos(turn), 0.38 * flat * np.sin(turn), pen.between(0.15, 0.3)
        pen.oval(x, y, size, size, pen.count(2, 4))
        pen.oval(x - 0.3 * size, y - 0.3 * size, 0.3 * size, 0.3 * size, 1)
    if pen.count(0, 1):
        pen.stroke([(-1.15, -0.7), (-1.15, 0.7)], 0.09, 3)


def _houses(pen: _Pen) -> None:
    """Walls with rows of windows and a door, a pointed or flattened roof, perhaps a chimney."""
    wide, eaves, ridge = pen.between(0.55, 0.85), -pen.between(0.0, 0.25), pen.between(0.0, 0.4)
    if pen.count(0, 1):
        pen.box(0.5 * wide, -0.95, 0.5 * wide + 0.18, eaves, 3)
    pen.box(-wide, eaves, wide, 0.85, 0)
    pen.polygon([(-wide - 0.15, eaves), (-ridge, -0.9), (ridge, -0.9), (wide + 0.15, eaves)], 1)
    pen.grid((-wide, eaves + 0.05, wide, 0.4), pen.count(2, 4), pen.count(1, 2))
    door = pen.between(-0.6, 0.4) * wide
    pen.box(door, 0.4, door + 0.22, 0.85, 2)


def _technology(pen: _Pen) -> None:
    """An open laptop: a screen with lines on it above a grid of keys."""
    wide, top, low = pen.between(0.6, 0.85), -pen.between(0.6, 0.9), pen.between(0.6, 0.85)
    rim, flare = pen.between(0.05, 0.12), pen.between(0.0, 0.25)
    pen.box(-wide, top, wide, 0.2, 0)
    pen.box(rim - wide, top + rim, wide - rim, 0.2 - rim, 1)
    for y in np.linspace(top + 0.25, 0, pen.count(2, 4)):
        pen.stroke([(0.2 - wide, y), (pen.between(-0.2, wide - 0.2), y)], 0.06, 2)
    pen.polygon([(-wide, 0.25), (wide, 0.25), (wide + flare, low), (-wide - flare, low)], 3)
    pen.grid((-wide, 0.28, wide, low - 0.04), pen.count(6, 9), pen.count(3, 4))


def _travel(pen: _Pen) -> None:
    """The sun over two mountains with snow, and the sea with waves before them."""
    shore, sun = pen.between(0.1, 0.4), pen.between(0.15, 0.28)
    pen.oval(pen.between(-0.9, 0.9), -pen.between(0.6, 0.9), sun, sun, 0)
    for x in (-pen.between(0.3, 0.9), pen.between(0.2, 0.9)):
        peak, foot = np.array((x, -pen.between(0.3, 0.8))), pen.between(0.5, 1.0)
        slopes = np.array([(x - foot, shore), peak, (x + foot, shore)])
        pen.polygon(slopes, 1)
        pen.polygon(peak + 0.3 * (slopes - peak), 2)
    # Far beyond the figure, so that the sea reaches the border of the picture.
    pen.box(-4, shore, 4, 4, 3)
    along = np.linspace(-1, 1, 13)
    for y in np.linspace(shore + 0.2, 1.1, pen.count(2, 4)):
        wave = np.column_stack([along + pen.between(-0.3, 0.3), y + 0.06 * np.sin(18 * along)])
        pen.stroke(wave, 0.05, 4)


FIGURES: Mapping[str, Callable[[_Pen], None]] = {
    "animals": _animals,
    "art": _art,
    "automobiles": _automobiles,
    "fashion": _fashion,
    "food": _food,
    "houses": _houses,
    "technology": _technology,
    "travel": _travel,
}


def draw(label: str, rng: np.random.Generator, size: int = 96) -> Image.Image:
    """Draw an RGB image of `size` x `size` pixels for a label.

    Raises:
        DataError: there is no figure for the label.
    """
    if label not in FIGURES:
        raise DataError(f"no figure for the label {label!r}; there are {', '.join(FIGURES)}")
    pixels = size * _OVERSAMPLING
    colours = _palette(rng, 7)
    # In every class the background is pale and the figure is darker, so that it stands out.
    image = _background(rng, pixels, *(255 - 0.4 * (255 - colours[:2])))
    inks = [tuple(ink) for ink in (0.7 * colours[2:]).astype(int).tolist()]
    pen = _Pen(ImageDraw.Draw(image), rng, inks, np.empty((3, 2)))
    _clutter(pen, pixels, pen.count(0, 3), 0.2)
    frame = _frame(pen, pixels, pen.between(0.65, 0.9), rng.normal(0, 0.1), 0.15)
    FIGURES[label](replace(pen, frame=frame))
    _clutter(pen, pixels, pen.count(0, 2), 0.15)
    return _expose(rng, image.reduce(_OVERSAMPLING))


def _palette(rng: np.random.Generator, count: int) -> Floats:
    """float[count,3] in 0..255: of six random colours, the one most unlike those before it."""
    chosen = rng.uniform(0, 255, (1, 3))
    while len(chosen) < count:
        candidates = rng.uniform(0, 255, (6, 3))
        nearest = np.linalg.norm(candidates[:, None] - chosen, axis=2).min(axis=1)
        chosen = np.vstack([chosen, candidates[nearest.argmax()]])
    return chosen


def _frame(pen: _Pen, pixels: int, scale: float, turn: float, shift: float) -> Floats:
    """The frame `float[3,2]` of a figure: its share of the image, angle in radians, shift."""
    axes = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    axes *= scale * pen.rng.uniform(0.85, 1.15, (2, 1))
    axes[0] *= pen.rng.choice([-1, 1])
    return np.vstack([axes, 1 + pen.rng.uniform(-shift, shift, 2)]) * pixels / 2


def _background(rng: np.random.Generator, pixels: int, one: Floats, other: Floats) -> Image.Image:
    """A gradient, stripes, a horizon or blotches of two colours float[3]."""
    turn, across = rng.uniform(0, 2 * np.pi), np.linspace(-1, 1, pixels)
    ramp = across[:, None] * np.sin(turn) + across * np.cos(turn)
    match rng.integers(4):
        case 0:
            mix = ramp / 3 + 0.5
        case 1:
            mix = np.sin(ramp * rng.uniform(4, 20)) > 0
        case 2:
            mix = across[:, None] + 0 * ramp > rng.uniform(-0.3, 0.6)
        case _:
            patches = Image.fromarray(rng.random((5, 5), np.float32))
            mix = np.asarray(patches.resize((pixels, pixels))).clip(0, 1)
    return Image.fromarray((one + mix[..., None] * (other - one)).astype(np.uint8))


def _clutter(pen: _Pen, pixels: int, count: int, largest: float) -> None:
    """Random shapes that belong to no class, behind a figure or in front of it."""
    for _ in range(count):
        frame = _frame(pen, pixels, pen.between(0.05, largest), pen.between(0, 6), 0.9)
        part, ink, high = replace(pen, frame=frame), pen.count(0, 4), pen.between(0.3, 1.0)
        if corners := (0, 3, 4, 24)[pen.count(0, 3)]:
            part.oval(0, 0, 1, high, ink, corners)
        else:
            part.stroke([(-2, 0), (0, high), (2, 0)], 0.3, ink)


def _expose(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Add uneven light and sensor noise."""
    across, slope = np.linspace(-1, 1, image.width), rng.uniform(-0.2, 0.2, 2)
    light = rng.uniform(0.75, 1.1) + slope[0] * across[:, None] + slope[1] * across
    values = np.asarray(image) * light[..., None]
    values += rng.normal(0, rng.uniform(3, 18), values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))
