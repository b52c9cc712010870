"""Which settings were tried, and how good each two of them are together: a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from pintag import canvas, quantities
from pintag.plots import ink, short
from pintag.results import Trial


def chart(trials: Sequence[Trial], chosen: int | None) -> Figure | None:
    """Validation accuracy of a grid of two settings; the chosen one is framed."""
    keys = _axes_of(trials)
    if keys is None:
        return None
    down, across = (_values(trials, key) for key in keys)
    figure = canvas.blank(max(5.2, 1.15 * len(across) + 2.6), max(2.8, 0.62 * len(down) + 1.7))
    axes = figure.add_subplot()
    cells = np.full((len(down), len(across)), np.nan)
    tried = np.zeros(cells.shape, bool)
    for number, trial in enumerate(trials):
        place = tuple(
            values.index(quantities.setting(trial.settings[key]))
            for key, values in zip(keys, (down, across), strict=True)
        )
        tried[place] = True
        if trial.validation_accuracy:
            cells[place] = trial.validation_accuracy.value
        if number == chosen:
            _framed(axes, *place)
    image = _coloured(axes, cells)
    for row, column in np.argwhere(np.isnan(cells)):
        # White would be the worst of the colours.
        _hatched(axes, row, column, "failed" if tried[row, column] else "not tried")
    axes.set_xticks(range(len(across)), [short(value) for value in across])
    axes.set_yticks(range(len(down)), [short(value) for value in down])
    axes.set(xlabel=canvas.named(keys[1]), ylabel=canvas.named(keys[0]))
    figure.colorbar(image, ax=axes, label="validation accuracy (%)", format=canvas.PERCENT)
    return figure


def _coloured(axes: Axes, cells: npt.NDArray[np.float64]) -> AxesImage:
    """Each cell in the colour of its accuracy, with its figure."""
    low, high = np.nanmin(cells), np.nanmax(cells)
    image = axes.imshow(cells, cmap="Blues", vmin=low - 0.02, vmax=high + 0.02, aspect="auto")
    for row, column in np.argwhere(np.isfinite(cells)):
        value = cells[row, column]
        colour = ink(image.to_rgba(value))
        axes.text(column, row, f"{100 * value:.1f}", ha="center", va="center", color=colour)
    return image


def _axes_of(trials: Sequence[Trial]) -> tuple[str, str] | None:
    """The two settings of a grid, if there are two and anything was found."""
    if len(trials) < 2 or not any(trial.validation_accuracy for trial in trials):
        return None
    keys = list(trials[0].settings)
    if any(list(trial.settings) != keys for trial in trials):
        return None
    if len(keys) > 2:
        keys = [key for key in keys if len(_values(trials, key)) > 1]
    return (keys[0], keys[1]) if len(keys) == 2 else None


def _values(trials: Sequence[Trial], key: str) -> list[str]:
    """Every value of a setting once: numbers by size, others as they come."""
    found = {quantities.setting(trial.settings[key]): trial.settings[key] for trial in trials}
    if all(isinstance(value, int | float) for value in found.values()):
        return sorted(found, key=lambda name: found[name])
    return list(found)


def _framed(axes: Axes, row: int, column: int) -> None:
    frame = Rectangle(
        (column - 0.47, row - 0.44), 0.94, 0.88, fill=False, color=canvas.VERMILION, lw=3.5
    )
    axes.add_patch(frame)


def _hatched(axes: Axes, row: int, column: int, why: str) -> None:
    cell = Rectangle(
        (column - 0.5, row - 0.5), 1, 1, hatch="///", facecolor="#eeeeee", edgecolor="#999999"
    )
    axes.add_patch(cell)
    ground = {"facecolor": "white", "lw": 0, "pad": 2}
    axes.text(column, row, why, ha="center", va="center", bbox=ground)
