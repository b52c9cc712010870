"""Accuracy against prediction time: what a model costs, and which ones are worth it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from pintag import canvas, placement, quantities
from pintag.plots import any_alphabet, short
from pintag.results import Entry, Family
from pintag.results import Figure as Estimate

_SECONDS = FuncFormatter(lambda value, _: f"{value:g} s" if value >= 1 else f"{1000 * value:g} ms")


@dataclass(frozen=True, slots=True)
class Point:
    """A model that has both figures."""

    name: str
    family: Family
    seconds: float
    accuracy: Estimate


def points(entries: Sequence[Entry], seconds: Mapping[str, float]) -> list[Point]:
    """Of the entries those with an accuracy on the test split and seconds for one image."""
    return [
        Point(entry.name, entry.family, seconds[entry.name], entry.test.accuracy)
        for entry in entries
        if entry.test and seconds.get(entry.name, 0) > 0
    ]


def front(shown: Sequence[Point]) -> list[Point]:
    """Pareto's: those than which none is both as fast and as accurate, fastest first.

    Of models that are equal in both, the first.
    """
    found: list[Point] = []
    for point in sorted(shown, key=lambda each: (each.seconds, -each.accuracy.value)):
        if not found or point.accuracy.value > found[-1].accuracy.value:
            found.append(point)
    return found


def chart(shown: Sequence[Point], budget: float) -> Figure | None:
    """Test accuracy against the seconds that one image takes; a budget of 0 is none."""
    if not shown:
        return None
    figure = canvas.blank(9.5, 6)
    axes = figure.add_subplot()
    _scale(axes, [point.seconds for point in shown] + ([budget] if budget > 0 else []))
    for point in shown:
        _draw(axes, point)
    lines: dict[str, Line2D] = {}
    if len(best := front(shown)) > 1:
        lines["Pareto front: none is faster and as accurate"] = _steps(axes, best)
    if budget > 0:
        told = f"latency budget, {quantities.seconds(budget)}"
        lines[told] = axes.axvline(budget, color="black", linestyle="--", linewidth=1.2)
    canvas.families(figure, [point.family for point in shown], lines)
    with any_alphabet():
        _name(figure, axes, shown, budget)
    return figure


def _scale(axes: Axes, times: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(times) / 1.8, max(times) * 1.8)
    few = max(times) / min(times) < 5
    axes.xaxis.set_major_locator(LogLocator(subs=range(1, 10) if few else (1, 2, 5)))
    axes.xaxis.set_major_formatter(_SECONDS)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(canvas.PERCENT)
    axes.set_xlabel("time for one image, alone in its batch (logarithmic)")
    axes.set_ylabel("accuracy on the test split (%), with 95 % intervals")
    axes.grid(alpha=0.3)


def _steps(axes: Axes, best: Sequence[Point]) -> Line2D:
    """Level up to the next model: what lies between them nobody has measured."""
    (line,) = axes.step(
        [point.seconds for point in best],
        [point.accuracy.value for point in best],
        where="post",
        color=canvas.GREY,
        linestyle=":",
        linewidth=2.2,
        zorder=1,
    )
    return line


def _draw(axes: Axes, point: Point) -> None:
    _, marker, colour = canvas.FAMILIES[point.family]
    value, low, high = canvas.parts(point.accuracy)
    axes.errorbar(
        point.seconds,
        value,
        yerr=[[value - low], [high - value]],
        marker=marker,
        markersize=9,
        color=colour,
        markeredgecolor="black",
        markeredgewidth=0.6,
        elinewidth=1.4,
        capsize=3,
    )


def _name(figure: Figure, axes: Axes, shown: Sequence[Point], budget: float) -> None:
    """Write a name beside each point, where it covers nothing."""
    drawing = FigureCanvasAgg(figure)
    # The places of points are final only when the layout is.
    drawing.draw()  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")
    renderer = drawing.get_renderer()  # type: ignore[no-untyped-call]
    scale = figure.dpi / 72
    room = axes.get_window_extent(renderer)
    labels = placement.Labels(room, _obstacles(axes, shown, budget), scale)
    for point in shown:
        x, y = point.seconds, point.accuracy.value
        text = axes.annotate(
            short(point.name), (x, y), xytext=(0, 0), textcoords="offset points", fontsize=9.5
        )
        across, up = (float(each) for each in axes.transData.transform((x, y)))
        extent = text.get_window_extent(renderer)
        box = labels.place((across, up), (extent.width, extent.height))
        text.set_position(((box.x0 - across) / scale, (box.y0 - up) / scale))
        if labels.is_far((across, up), box):
            end = axes.transData.inverted().transform(placement.nearest((across, up), box))
            axes.plot([x, end[0]], [y, end[1]], color=canvas.GREY, linewidth=0.8, zorder=1)


def _obstacles(axes: Axes, shown: Sequence[Point], budget: float) -> list[Bbox]:
    """What names should not cover: points, intervals, the steps of the front and the budget."""
    lines, markers = [], []
    for point in shown:
        _, low, high = canvas.parts(point.accuracy)
        lines.append([(point.seconds, low), (point.seconds, high)])
        markers.append([(point.seconds, point.accuracy.value)] * 2)
    for one, two in pairwise(front(shown)):
        corner = (two.seconds, one.accuracy.value)
        lines.append([(one.seconds, one.accuracy.value), corner])
        lines.append([corner, (two.seconds, two.accuracy.value)])
    if budget > 0:
        lines.append([(budget, end) for end in axes.get_ylim()])

    def boxes(of: Sequence[Sequence[tuple[float, float]]], pad: float) -> list[Bbox]:
        return [Bbox(axes.transData.transform(each)).padded(pad) for each in of]

    return boxes(lines, 2) + boxes(markers, 7)
