"""Helpers that read the texts of a figure."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text


def all_texts(figure: Figure | None) -> list[str]:
    """Every text of a figure."""
    assert figure is not None
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def ticks(axes: Axes) -> list[str]:
    """The names on the vertical axis."""
    return [label.get_text() for label in axes.get_yticklabels()]
