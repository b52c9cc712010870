"""The pictures of one model, and how every picture of the project is saved."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pintag.labels import Labels

# Characters of a name that a picture has room for.
_ROOM = 28


def confusion_matrix(confusion: npt.NDArray[np.integer], labels: Labels, title: str) -> bytes:
    """Draw `int[C,C]`: colour is the share of the true label, the figure in a cell the count."""
    return _png(confusion_figure(confusion, list(labels), title))


def training_curves(history: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Draw loss and accuracy by epoch from rows of a training history; a line parts its phases."""
    return _png(curves_figure(history, title))


def confusion_figure(
    confusion: npt.NDArray[np.integer], labels: Sequence[str], title: str
) -> Figure:
    """As `confusion_matrix`, not yet saved."""
    count = len(labels)
    side = max(4.5, 0.62 * count + 2)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(count, count):
        if confusion[row, column]:
            colour = ink(image.to_rgba(share[row, column]))
            axes.text(
                column, row, str(confusion[row, column]), ha="center", va="center", color=colour
            )
    names = [short(name) for name in labels]
    axes.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    axes.set(xlabel="predicted", ylabel="true")
    figure.suptitle(literal(title), wrap=True)
    figure.colorbar(image, ax=axes, label="share of the true label", shrink=0.8)
    return figure


def curves_figure(history: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """As `training_curves`, not yet saved."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(literal(title), wrap=True)
    epochs = range(1, len(history) + 1)
    phases = [row.get("phase") for row in history]
    begun = [at + 0.5 for at in range(1, len(phases)) if phases[at] != phases[at - 1]]
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for key, name, look in (
            (measure, "training", {"color": "#0072b2", "marker": "o"}),
            (
                f"validation_{measure}",
                "validation",
                {"color": "#d55e00", "marker": "s", "ls": "--"},
            ),
        ):
            values = [row[key] for row in history]
            axes.plot(epochs, values, markersize=4, label=name, **look)
        for at in begun:
            axes.axvline(at, color="grey", linestyle=":", linewidth=2)
        axes.set(xlabel="epoch", ylabel=measure)
        whole = MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        axes.xaxis.set_major_locator(whole)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def ink(ground: Any) -> str:
    """Black or white, whichever is read better on a colour: by contrast, as WCAG 2 defines it."""
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4
        for each in to_rgb(ground)
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def literal(text: str) -> str:
    """Labels and titles are names of folders: a dollar sign in one starts no formula."""
    shown = " ".join(text.encode(errors="backslashreplace").decode().split())
    return shown.replace("$", r"\$")


def short(name: str, room: int = _ROOM) -> str:
    """As `literal`; the middle of a long name is left out, as names often begin alike."""
    if len(name) <= room:
        return literal(name)
    tail = room // 2
    return literal(f"{name[: room - tail - 1]}…{name[-tail:]}")


@contextmanager
def any_alphabet() -> Iterator[None]:
    """Names may be of any alphabet, the fonts are not: a letter that they lack is a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def saved(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """As a file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    with any_alphabet(), rc_context({"svg.hashsalt": "pintag"}):
        figure.savefig(buffer, format=kind, dpi=120, metadata=metadata)
    return buffer.getvalue()


def _png(figure: Figure) -> bytes:
    return saved(figure, "png")
