"""The heat map of the settings that were tried for a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from pintag.core import formatting
from pintag.evaluation.plots import PERCENT, readable_on, shorten
from pintag.report import chart_style
from pintag.report.results import ReportedTrial


def chart(trials: Sequence[ReportedTrial], chosen: int | None) -> Figure | None:
    """Draw the validation accuracy of a grid of two settings, with a frame around the chosen cell.

    None if the trials are not a grid of two settings, or if no trial has a figure.
    """
    keys = _grid_keys(trials)
    if keys is None:
        return None
    down, across = (_values(trials, key) for key in keys)
    figure = _new_figure(len(down), len(across))
    axes = figure.add_subplot()
    cells = np.full((len(down), len(across)), np.nan)
    tried = np.zeros(cells.shape, bool)
    for index, trial in enumerate(trials):
        cell = tuple(
            values.index(formatting.setting(trial.settings[key]))
            for key, values in zip(keys, (down, across), strict=True)
        )
        tried[cell] = True
        if trial.validation_accuracy:
            cells[cell] = trial.validation_accuracy.value
        if index == chosen:
            _draw_frame(axes, *cell)
    image = _draw_cells(axes, cells)
    for row, column in np.argwhere(np.isnan(cells)):
        # An empty cell would be white, which looks like the lowest accuracy.
        _draw_hatching(axes, row, column, "failed" if tried[row, column] else "not tried")
    _name_ticks(axes.xaxis, keys[1], across)
    _name_ticks(axes.yaxis, keys[0], down)
    figure.colorbar(image, ax=axes, label="validation accuracy (%)", format=PERCENT)
    return figure


def _new_figure(rows: int, columns: int) -> Figure:
    return chart_style.new_figure(max(5.2, 1.15 * columns + 2.6), max(2.8, 0.62 * rows + 1.7))


def _name_ticks(axis: Axis, key: str, values: Sequence[str]) -> None:
    axis.set_ticks(range(len(values)), [shorten(value) for value in values])
    axis.set_label_text(chart_style.axis_name(key))


def _draw_cells(axes: Axes, cells: npt.NDArray[np.float64]) -> AxesImage:
    """Colour each cell by its accuracy, and write the accuracy into it."""
    low, high = np.nanmin(cells), np.nanmax(cells)
    image = axes.imshow(cells, cmap="Blues", vmin=low - 0.02, vmax=high + 0.02, aspect="auto")
    for row, column in np.argwhere(np.isfinite(cells)):
        value = cells[row, column]
        colour = readable_on(image.to_rgba(value))
        axes.text(column, row, f"{100 * value:.1f}", ha="center", va="center", color=colour)
    return image


def _grid_keys(trials: Sequence[ReportedTrial]) -> tuple[str, str] | None:
    """The two settings of a grid; None if there is no such grid or no figure."""
    if len(trials) < 2 or not any(trial.validation_accuracy for trial in trials):
        return None
    keys = list(trials[0].settings)
    if any(list(trial.settings) != keys for trial in trials):
        return None
    if len(keys) > 2:
        keys = [key for key in keys if len(_values(trials, key)) > 1]
    return (keys[0], keys[1]) if len(keys) == 2 else None


def _values(trials: Sequence[ReportedTrial], key: str) -> list[str]:
    """Each value of a setting once: numbers in ascending order, others in the order of trials."""
    values = {formatting.setting(trial.settings[key]): trial.settings[key] for trial in trials}
    if all(isinstance(value, int | float) for value in values.values()):
        return sorted(values, key=lambda name: values[name])
    return list(values)


def _draw_frame(axes: Axes, row: int, column: int) -> None:
    frame = Rectangle(
        (column - 0.47, row - 0.44), 0.94, 0.88, fill=False, color=chart_style.VERMILION, lw=3.5
    )
    axes.add_patch(frame)


def _draw_hatching(axes: Axes, row: int, column: int, text: str) -> None:
    cell = Rectangle(
        (column - 0.5, row - 0.5), 1, 1, hatch="///", facecolor="#eeeeee", edgecolor="#999999"
    )
    axes.add_patch(cell)
    background = {"facecolor": "white", "lw": 0, "pad": 2}
    axes.text(column, row, text, ha="center", va="center", bbox=background)
