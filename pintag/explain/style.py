"""The colours, fonts and sizes of pictures of explanations."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

Colour = tuple[int, int, int]

# Blue and vermilion of Okabe & Ito's palette, which colour-blind people can distinguish.
FOR: Colour = (0, 114, 178)
AGAINST: Colour = (213, 94, 0)
HALO: Colour = (255, 255, 255)
INK: Colour = (27, 26, 24)
# The longest side of a picture is this many times the size of the font.
_LINES = 34
_MIN_FONT, _MAX_FONT = 13, 24


def colour(weight: float) -> Colour:
    """The colour of a weight."""
    return AGAINST if weight < 0 else FOR


def ink_on(ground: Colour) -> Colour:
    """The colour of text that is legible on a ground."""
    return HALO if ground == FOR else INK


def font_size(height: int, width: int) -> int:
    """The size of the text in and around a picture, in pixels."""
    return min(max(round(max(height, width) / _LINES), _MIN_FONT), _MAX_FONT)


@lru_cache(maxsize=64)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, Arabic and more."""
    # Importing matplotlib itself takes half a second.
    spec = find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("matplotlib is not installed: install pintag's dependencies")
    folder = Path(spec.submodule_search_locations[0]) / "mpl-data/fonts/ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)
