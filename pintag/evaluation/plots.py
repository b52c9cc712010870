"""Plots of one model, and the helpers that all plots of the project share."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pintag.core.text import valid
from pintag.data.labels import Labels

PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g}")
"""Formats the ticks of an axis as percentages: 0.5 as `50`."""

# A confusion matrix with more labels has no numbers: they would overlap, and the memory for the
# picture would grow with the square of the number of labels.
_MOST_LABELS = 40
# The side of its picture, in inches.
_LARGE = 20.0
# The longest name that is drawn whole, in characters.
_NAME_LENGTH = 28
# The margin of a confusion matrix, in inches. Matplotlib's layout of square cells is inexact by a
# third of its own margin and more, which cut the name of an axis.
_MARGIN = 0.12
_CURVES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("", "training", {"color": "#0072b2", "marker": "o"}),
    ("validation_", "validation", {"color": "#d55e00", "marker": "s", "ls": "--"}),
)
"""Prefix of a key of a training history, name in the legend, style."""


def confusion_matrix(confusion: npt.NDArray[np.integer], labels: Labels, title: str) -> bytes:
    """Draw a confusion matrix `int[C,C]` as PNG: see `confusion_figure`."""
    return _png(confusion_figure(confusion, list(labels), title))


def training_curves(history: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Draw a training history as PNG: see `curves_figure`."""
    return _png(curves_figure(history, title))


def confusion_figure(
    confusion: npt.NDArray[np.integer], labels: Sequence[str], title: str
) -> Figure:
    """Draw a confusion matrix `int[C,C]`: rows are true labels, columns are predicted labels.

    The number in a cell is the count of images; its colour is their share of the true label. The
    picture of more than 40 labels has a fixed size: it has no numbers, and it names every second
    label, every third, and so on.
    """
    count = len(labels)
    side = max(4.5, 0.62 * count + 2) if count <= _MOST_LABELS else _LARGE
    layout = ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=_MARGIN)
    figure = Figure(figsize=(side + 1, side), layout=layout)
    axes = figure.add_subplot()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(confusion), strict=True) if count <= _MOST_LABELS else ():
        colour = readable_on(image.to_rgba(share[row, column]))
        axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=colour)
    ticks = range(0, count, -(-count // _MOST_LABELS))
    names = [shorten(labels[tick]) for tick in ticks]
    axes.set_xticks(ticks, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, names)
    axes.set(xlabel="predicted label", ylabel="true label")
    figure.suptitle(plain(title), wrap=True)
    figure.colorbar(
        image, ax=axes, label="share of the true label's images (%)", shrink=0.8, format=PERCENT
    )
    return figure


def curves_figure(history: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw loss and accuracy by epoch from rows of a training history.

    A dotted vertical line shows where fine-tuning begins.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(plain(title), wrap=True)
    loss, accuracy = figure.subplots(1, 2)
    _draw_curves(loss, history, "loss")
    loss.set(xlabel="epoch", ylabel="loss (nats)")
    _draw_curves(accuracy, history, "accuracy")
    accuracy.set(xlabel="epoch", ylabel="accuracy (%)")
    accuracy.yaxis.set_major_formatter(PERCENT)
    return figure


def _draw_curves(axes: Axes, history: Sequence[Mapping[str, Any]], measure: str) -> None:
    epochs = range(1, len(history) + 1)
    for prefix, name, style in _CURVES:
        values = [row[prefix + measure] for row in history]
        axes.plot(epochs, values, markersize=4, label=name, **style)
    phases = [row.get("phase") for row in history]
    for index in range(1, len(phases)):
        if phases[index] != phases[index - 1]:
            name = "fine-tuning begins"
            axes.axvline(index + 0.5, color="grey", linestyle=":", linewidth=2, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.3)
    axes.legend()


def readable_on(background: Any) -> str:
    """`black` or `white`: the text colour with more contrast, as WCAG 2 defines contrast."""
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in to_rgb(background)
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def plain(text: str) -> str:
    """Text for a plot, in one line and with every `$` escaped, which would start a formula."""
    one_line = " ".join(valid(text).split())
    return one_line.replace("$", r"\$")


def shorten(name: str, length: int = _NAME_LENGTH) -> str:
    """Like `plain`, but without the middle of a long name: long names often start with the same
    words."""
    if len(name) <= length:
        return plain(name)
    tail = length // 2
    return plain(f"{name[: length - tail - 1]}…{name[-tail:]}")


@contextmanager
def missing_glyphs_allowed() -> Iterator[None]:
    """Do not warn about letters that the font lacks; matplotlib draws a box for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def encode(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as a file. Equal figures give equal bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    with missing_glyphs_allowed(), rc_context({"svg.hashsalt": "pintag"}):
        figure.savefig(buffer, format=kind, dpi=120, metadata=metadata)
    return buffer.getvalue()


def _png(figure: Figure) -> bytes:
    return encode(figure, "png")
