"""The shared style of a study's charts: size, colours, markers, intervals and the legend.

The colours are those of Okabe and Ito, which people with any colour vision can distinguish.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from pintag.evaluation.plots import plain
from pintag.report.results import Family, IntervalFigure

BLUE, VERMILION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
SKY, GREY = "#56b4e9", "#6b6b6b"

FAMILIES: Mapping[Family, tuple[str, str, str]] = {
    "svm": ("support vector machine", "s", ORANGE),
    "network": ("network from scratch", "^", GREEN),
    "transfer": ("head on a frozen backbone", "o", BLUE),
    "fine_tuned": ("fine-tuned backbone", "D", VERMILION),
}
"""Name, marker and colour of each family of models."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, with small margins."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def axis_name(key: str) -> str:
    """The name of a setting on an axis: `learning_rate` as `learning rate`."""
    return plain(key.replace("_", " "))


def with_ends(figure: IntervalFigure) -> tuple[float, float, float]:
    """Value, low and high, corrected for rounding errors so that low <= value <= high."""
    return figure.value, min(figure.low, figure.value), max(figure.high, figure.value)


def draw_interval(
    axes: Axes, row: float, figure: IntervalFigure | None, marker: str, colour: str
) -> None:
    """Draw a horizontal interval and its value in a row of a chart; None draws nothing."""
    if figure is None:
        return
    value, low, high = with_ends(figure)
    axes.plot([low, high], [row, row], color=colour, linewidth=1.6)
    axes.plot(
        value,
        row,
        marker,
        color=colour,
        markersize=6,
        markeredgecolor="black",
        markeredgewidth=0.5,
    )


def add_legend(
    figure: Figure, families: Sequence[Family], lines: Mapping[str, Line2D] | None = None
) -> None:
    """Add a legend above a figure.

    Args:
        families: the families in the chart; each is listed once.
        lines: other lines of the chart, by their meaning.
    """
    handles: dict[str, Line2D] = {}
    for family, (name, marker, colour) in FAMILIES.items():
        if family in families:
            handles[name] = Line2D(
                [], [], marker=marker, color=colour, linestyle="", markeredgecolor="black"
            )
    handles |= lines or {}
    figure.legend(
        handles=list(handles.values()),
        labels=list(handles),
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
