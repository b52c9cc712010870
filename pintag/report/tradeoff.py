"""The chart of accuracy against prediction time, with the Pareto front."""

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

from pintag.core import formatting
from pintag.evaluation.plots import PERCENT, missing_glyphs_allowed, shorten
from pintag.report import chart_style, label_layout
from pintag.report.results import Family, IntervalFigure, ModelResult

_SECONDS = FuncFormatter(lambda value, _: f"{value:g} s" if value >= 1 else f"{1000 * value:g} ms")


@dataclass(frozen=True, slots=True)
class TradeoffPoint:
    """A model with its prediction time and its accuracy on the test split."""

    name: str
    family: Family
    seconds: float
    accuracy: IntervalFigure


def points(models: Sequence[ModelResult], seconds: Mapping[str, float]) -> list[TradeoffPoint]:
    """The models that have both an accuracy on the test split and seconds for one image."""
    return [
        TradeoffPoint(model.name, model.family, seconds[model.name], model.test.accuracy)
        for model in models
        if model.test and seconds.get(model.name, 0) > 0
    ]


def pareto_front(shown: Sequence[TradeoffPoint]) -> list[TradeoffPoint]:
    """The models that no other one equals or beats in both time and accuracy, the fastest first.

    If several models are equal in both, only the first is on the front.
    """
    front: list[TradeoffPoint] = []
    for point in sorted(shown, key=lambda point: (point.seconds, -point.accuracy.value)):
        if not front or point.accuracy.value > front[-1].accuracy.value:
            front.append(point)
    return front


def chart(shown: Sequence[TradeoffPoint], budget: float) -> Figure | None:
    """Draw test accuracy against prediction time; None without points.

    Args:
        budget: the latency budget in seconds, drawn as a line; 0 for none.
    """
    if not shown:
        return None
    figure = chart_style.new_figure(9.5, 6)
    axes = figure.add_subplot()
    _set_scales(axes, [point.seconds for point in shown] + ([budget] if budget > 0 else []))
    for point in shown:
        _draw_point(axes, point)
    lines: dict[str, Line2D] = {}
    if len(front := pareto_front(shown)) > 1:
        lines["Pareto front: none is faster and as accurate"] = _draw_front(axes, front)
    if budget > 0:
        name = f"latency budget, {formatting.seconds(budget)}"
        lines[name] = axes.axvline(budget, color="black", linestyle="--", linewidth=1.2)
    chart_style.add_legend(figure, [point.family for point in shown], lines)
    with missing_glyphs_allowed():
        _draw_names(figure, axes, shown, budget)
    return figure


def _set_scales(axes: Axes, times: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(times) / 1.8, max(times) * 1.8)
    few = max(times) / min(times) < 5
    axes.xaxis.set_major_locator(LogLocator(subs=range(1, 10) if few else (1, 2, 5)))
    axes.xaxis.set_major_formatter(_SECONDS)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("prediction time of one image in a batch of one (logarithmic)")
    axes.set_ylabel("accuracy on the test split (%), with 95 % intervals")
    axes.grid(alpha=0.3)


def _draw_front(axes: Axes, front: Sequence[TradeoffPoint]) -> Line2D:
    """Draw steps, not slopes: between two models there is nothing to choose."""
    (line,) = axes.step(
        [point.seconds for point in front],
        [point.accuracy.value for point in front],
        where="post",
        color=chart_style.GREY,
        linestyle=":",
        linewidth=2.2,
        zorder=1,
    )
    return line


def _draw_point(axes: Axes, point: TradeoffPoint) -> None:
    _, marker, colour = chart_style.FAMILIES[point.family]
    value, low, high = chart_style.with_ends(point.accuracy)
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


def _draw_names(figure: Figure, axes: Axes, shown: Sequence[TradeoffPoint], budget: float) -> None:
    """Write a name beside each point, without covering anything."""
    drawing = FigureCanvasAgg(figure)
    # The positions of the points are final after the layout.
    drawing.draw()  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")
    renderer = drawing.get_renderer()  # type: ignore[no-untyped-call]
    scale = figure.dpi / 72
    area = axes.get_window_extent(renderer)
    labels = label_layout.LabelLayout(area, _obstacles(axes, shown, budget), scale)
    for point in shown:
        x, y = point.seconds, point.accuracy.value
        text = axes.annotate(
            shorten(point.name), (x, y), xytext=(0, 0), textcoords="offset points", fontsize=9.5
        )
        point_x, point_y = map(float, axes.transData.transform((x, y)))
        extent = text.get_window_extent(renderer)
        box = labels.place((point_x, point_y), (extent.width, extent.height))
        text.set_position(((box.x0 - point_x) / scale, (box.y0 - point_y) / scale))
        if labels.is_far((point_x, point_y), box):
            end = axes.transData.inverted().transform(label_layout.nearest((point_x, point_y), box))
            axes.plot([x, end[0]], [y, end[1]], color=chart_style.GREY, linewidth=0.8, zorder=1)


def _obstacles(axes: Axes, shown: Sequence[TradeoffPoint], budget: float) -> list[Bbox]:
    """The boxes of points, intervals, the Pareto front and the budget, in pixels."""
    lines, markers = [], []
    for point in shown:
        _, low, high = chart_style.with_ends(point.accuracy)
        lines.append([(point.seconds, low), (point.seconds, high)])
        markers.append([(point.seconds, point.accuracy.value)] * 2)
    for first, second in pairwise(pareto_front(shown)):
        corner = (second.seconds, first.accuracy.value)
        lines.append([(first.seconds, first.accuracy.value), corner])
        lines.append([corner, (second.seconds, second.accuracy.value)])
    if budget > 0:
        lines.append([(budget, end) for end in axes.get_ylim()])

    def boxes(corners: Sequence[Sequence[tuple[float, float]]], pad: float) -> list[Bbox]:
        return [Bbox(axes.transData.transform(pair)).padded(pad) for pair in corners]

    return boxes(lines, 2) + boxes(markers, 7)
