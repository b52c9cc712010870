"""What the charts of a study have in common: paper, colours, markers, intervals, a legend.

Colours are those of Okabe and Ito, which people of any colour vision tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from pintag.plots import literal
from pintag.results import Family
from pintag.results import Figure as Estimate

BLUE, VERMILION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
SKY, GREY = "#56b4e9", "#6b6b6b"

FAMILIES: Mapping[Family, tuple[str, str, str]] = {
    "svm": ("support vector machine", "s", ORANGE),
    "network": ("network of its own", "^", GREEN),
    "transfer": ("head on a frozen backbone", "o", BLUE),
    "fine_tuned": ("fine-tuned backbone", "D", VERMILION),
}
"""Of each family a name, a marker and a colour."""

PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g}")


def blank(width: float, height: float) -> Figure:
    """Of this size in inches, with some room at its edges."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def named(key: str) -> str:
    """`learning_rate` as `learning rate`"""
    return literal(key.replace("_", " "))


def parts(figure: Estimate) -> tuple[float, float, float]:
    """A value and its interval, which holds it even where rounding says otherwise."""
    return figure.value, min(figure.low, figure.value), max(figure.high, figure.value)


def span(axes: Axes, place: float, figure: Estimate | None, marker: str, colour: str) -> None:
    if figure is None:
        return
    value, low, high = parts(figure)
    axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
    axes.plot(
        value,
        place,
        marker,
        color=colour,
        markersize=6,
        markeredgecolor="black",
        markeredgewidth=0.5,
    )


def families(
    figure: Figure, shown: Sequence[Family], lines: Mapping[str, Line2D] | None = None
) -> None:
    """A legend of those families that are there, and of lines by what they mean."""
    legend: dict[str, Line2D] = {}
    for family, (name, marker, colour) in FAMILIES.items():
        if family in shown:
            legend[name] = Line2D(
                [], [], marker=marker, color=colour, linestyle="", markeredgecolor="black"
            )
    legend |= lines or {}
    figure.legend(
        handles=list(legend.values()),
        labels=list(legend),
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
