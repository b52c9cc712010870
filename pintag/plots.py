"""Every picture the project draws, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pintag.labels import Labels


def confusion_matrix(confusion: npt.NDArray[np.integer], labels: Labels, title: str) -> bytes:
    """Draw `int[C,C]`: colour is the share of the true label, the figure in a cell the count."""
    count = len(labels)
    side = max(4.5, 0.62 * count + 2)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(count, count):
        if confusion[row, column]:
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(
                column, row, str(confusion[row, column]), ha="center", va="center", color=colour
            )
    names = [_literal(name) for name in labels]
    axes.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    axes.set(xlabel="predicted", ylabel="true")
    figure.suptitle(_literal(title), wrap=True)
    figure.colorbar(image, ax=axes, label="share of the true label", shrink=0.8)
    return _png(figure)


def training_curves(history: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Draw loss and accuracy by epoch from rows of a training history; a line parts its phases."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(_literal(title), wrap=True)
    epochs = range(1, len(history) + 1)
    phases = [row.get("phase") for row in history]
    begun = [at + 0.5 for at in range(1, len(phases)) if phases[at] != phases[at - 1]]
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for key, name in ((measure, "training"), (f"validation_{measure}", "validation")):
            values = [row[key] for row in history]
            axes.plot(epochs, values, marker="o", markersize=3, label=name)
        for at in begun:
            axes.axvline(at, color="grey", linestyle="--")
        axes.set(xlabel="epoch", ylabel=measure)
        whole = MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        axes.xaxis.set_major_locator(whole)
        axes.grid(alpha=0.3)
        axes.legend()
    return _png(figure)


def _literal(text: str) -> str:
    """Labels and titles are names of folders: a dollar sign in one starts no formula."""
    return text.replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
