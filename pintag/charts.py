"""The charts of a study: what was found, drawn so that it is not told by colour alone.

Colours are those of Okabe and Ito, which people of any colour vision tell apart. A chart of what is
not known is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from pintag import placement, quantities, significance
from pintag.calibration import BINS
from pintag.plots import any_alphabet, literal, short
from pintag.results import CrossValidation, Entry, Family, Scores, Trial
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

_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g}")
_SECONDS = FuncFormatter(lambda value, _: f"{value:g} s" if value >= 1 else f"{1000 * value:g} ms")


def tuning(trials: Sequence[Trial], chosen: int | None) -> Figure | None:
    """Validation accuracy of a grid of two settings; the chosen one is framed."""
    keys = _axes_of(trials)
    if keys is None:
        return None
    down, across = (_values(trials, key) for key in keys)
    figure = _blank(max(5.2, 1.15 * len(across) + 2.6), max(2.8, 0.62 * len(down) + 1.7))
    axes = figure.add_subplot()
    cells = np.full((len(down), len(across)), np.nan)
    for number, trial in enumerate(trials):
        row, column = (
            values.index(quantities.setting(trial.settings[key]))
            for key, values in zip(keys, (down, across), strict=True)
        )
        if trial.validation_accuracy:
            cells[row, column] = trial.validation_accuracy.value
        else:
            _failed(axes, row, column)
        if number == chosen:
            frame = Rectangle(
                (column - 0.47, row - 0.44), 0.94, 0.88, fill=False, color=VERMILION, lw=3.5
            )
            axes.add_patch(frame)
    low, high = np.nanmin(cells), np.nanmax(cells)
    image = axes.imshow(cells, cmap="Blues", vmin=low - 0.02, vmax=high + 0.02, aspect="auto")
    for row, column in product(range(len(down)), range(len(across))):
        if np.isfinite(value := cells[row, column]):
            dark = value > (low + high) / 2 and high > low
            text = f"{100 * value:.1f}"
            axes.text(
                column, row, text, ha="center", va="center", color="white" if dark else "black"
            )
    axes.set_xticks(range(len(across)), [short(value) for value in across])
    axes.set_yticks(range(len(down)), [short(value) for value in down])
    axes.set(xlabel=_named(keys[1]), ylabel=_named(keys[0]))
    figure.colorbar(image, ax=axes, label="validation accuracy (%)", format=_PERCENT)
    return figure


def recalls(entries: Sequence[Entry], labels: Sequence[str]) -> Figure | None:
    """Recall of every label by every entry, a panel for each label."""
    tested = [(entry, entry.test) for entry in entries if entry.test]
    if not tested:
        return None
    columns = min(len(labels), 4)
    rows = -(-len(labels) // columns)
    figure = _blank(2.1 * columns + 2.4, rows * (0.25 * len(tested) + 0.6) + 0.9)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, label in zip(panels.flat, labels, strict=False):
        for place, (entry, scores) in enumerate(tested):
            _, marker, colour = FAMILIES[entry.family]
            _span(panel, place, scores.recall.get(label), marker, colour)
        panel.set_title(short(label, 24), fontsize=10)
        panel.grid(axis="x", alpha=0.35)
        panel.xaxis.set_major_formatter(_PERCENT)
    for panel in panels.flat[len(labels) :]:
        panel.axis("off")
    panels[0, 0].set(xlim=(-0.03, 1.03), xticks=[0, 0.5, 1], ylim=(len(tested) - 0.4, -0.6))
    panels[0, 0].set_yticks(range(len(tested)), [short(entry.name, 22) for entry, _ in tested])
    for panel in panels.flat:
        panel.tick_params(labelsize=9, labelbottom=True)
    figure.supxlabel("recall on the test split (%), with 95 % intervals", fontsize=10)
    _families(figure, [entry.family for entry, _ in tested])
    return figure


def recall(scores: Scores, labels: Sequence[str]) -> Figure:
    """Recall of every label by one model."""
    figure = _blank(6, 0.34 * len(labels) + 1.3)
    axes = figure.add_subplot()
    for place, label in enumerate(labels):
        _span(axes, place, scores.recall.get(label), "o", BLUE)
    images = [sum(row) for row in scores.confusion]
    names = [f"{short(label)} ({count})" for label, count in zip(labels, images, strict=True)]
    axes.set_yticks(range(len(labels)), names)
    axes.set(xlim=(-0.03, 1.03), ylim=(len(labels) - 0.4, -0.6))
    axes.set_xlabel("recall (%), with 95 % intervals\nin brackets: images")
    axes.xaxis.set_major_formatter(_PERCENT)
    axes.grid(axis="x", alpha=0.35)
    return figure


def trade(entries: Sequence[Entry], seconds: Mapping[str, float], budget: float) -> Figure | None:
    """Test accuracy against the seconds that one image takes, by entry name."""
    shown = [
        (entry, entry.test, seconds[entry.name])
        for entry in entries
        if entry.test and seconds.get(entry.name, 0) > 0
    ]
    if not shown:
        return None
    figure = _blank(9.5, 6)
    axes = figure.add_subplot()
    for entry, scores, taken in shown:
        _, marker, colour = FAMILIES[entry.family]
        value, low, high = _parts(scores.accuracy)
        axes.errorbar(
            taken,
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
    times = [taken for *_, taken in shown] + ([budget] if budget > 0 else [])
    axes.set_xscale("log")
    axes.set_xlim(min(times) / 1.8, max(times) * 1.8)
    if budget > 0:
        axes.axvline(budget, color="black", linestyle="--", linewidth=1.2)
    few = max(times) / min(times) < 5
    axes.xaxis.set_major_locator(LogLocator(subs=range(1, 10) if few else (1, 2, 5)))
    axes.xaxis.set_major_formatter(_SECONDS)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.set_xlabel("time for one image, alone in its batch (logarithmic)")
    axes.set_ylabel("accuracy on the test split (%), with 95 % intervals")
    axes.grid(alpha=0.3)
    more = [Line2D([], [], color="black", linestyle="--")] if budget > 0 else []
    told = [f"latency budget, {quantities.seconds(budget)}"] if budget > 0 else []
    _families(figure, [entry.family for entry, *_ in shown], more, told)
    with any_alphabet():
        _name(figure, axes, [(entry.name, t, s.accuracy) for entry, s, t in shown])
    return figure


def cross_validation(found: CrossValidation) -> Figure:
    """A box over the accuracies of the folds, each fold, and their mean with its interval."""
    figure = _blank(7.5, 2.9)
    axes = figure.add_subplot()
    values = [fold.value for fold in found.folds]
    if values:
        axes.boxplot(
            values,
            orientation="horizontal",
            positions=[1],
            widths=0.42,
            showfliers=False,
            medianprops={"color": "black", "linewidth": 2},
        )
    for place, value in enumerate(values):
        # Folds that are as good as equal lie above one another, and so do their numbers.
        twins = _twins(values, place)
        axes.plot(value, 1 + 0.08 * twins, "o", color=BLUE, ms=7, markeredgecolor="white", zorder=3)
        number = str(place + 1)
        axes.annotate(
            number,
            (value, 1.24),
            xytext=(0, 2 + 11 * twins),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    mean, low, high = _parts(found.mean)
    axes.errorbar(
        mean, 0.45, xerr=[[mean - low], [high - mean]], fmt="D", color=VERMILION, capsize=4, ms=8
    )
    axes.set_yticks([0.45, 1], ["mean, 95 % interval", "folds, by number"])
    axes.set_ylim(0.1, 1.62)
    axes.xaxis.set_major_formatter(_PERCENT)
    axes.set_xlabel("accuracy of a fold (%)")
    axes.grid(axis="x", alpha=0.35)
    return figure


def reliability(scores: Scores) -> Figure:
    """How often answers of a confidence are right; below, how many answers have it."""
    figure = _blank(5.4, 5.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot(
        [0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="as confident as right"
    )
    for each in scores.reliability:
        found = significance.share(round(each.accuracy * each.images), each.images)
        top.vlines(each.confidence, found.low, found.high, color=BLUE, linewidth=1.3)
    top.plot(
        [each.confidence for each in scores.reliability],
        [each.accuracy for each in scores.reliability],
        marker="o",
        color=BLUE,
        label="this model, with 95 % intervals",
    )
    top.set(ylim=(-0.03, 1.03), ylabel="answers that are right (%)")
    top.yaxis.set_major_formatter(_PERCENT)
    top.legend(loc="upper left", fontsize=9)
    for each in scores.reliability:
        start = max(0, int(np.ceil(each.confidence * BINS)) - 1) / BINS
        bottom.bar(
            start, each.images, 1 / BINS, align="edge", color=SKY, edgecolor="black", linewidth=0.7
        )
        bottom.annotate(
            str(each.images),
            (start + 0.5 / BINS, each.images),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    bottom.set(xlim=(-0.01, 1.01), xlabel="confidence in the first answer (%)", ylabel="images")
    bottom.margins(y=0.3)
    bottom.xaxis.set_major_formatter(_PERCENT)
    bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    top.grid(alpha=0.3)
    return figure


def training(entries: Sequence[Entry], seconds: Mapping[str, float]) -> Figure | None:
    """Seconds of fitting each entry's chosen trial, shortest first."""
    known = [(seconds[entry.name], entry) for entry in entries if entry.name in seconds]
    if not known:
        return None
    known.sort(key=lambda pair: pair[0])
    figure = _blank(8, 0.36 * len(known) + 1.3)
    axes = figure.add_subplot()
    longest = max(taken for taken, _ in known)
    for place, (taken, _) in enumerate(known):
        axes.barh(place, taken, color=SKY, edgecolor="black", linewidth=0.6)
        axes.annotate(
            quantities.seconds(taken),
            (taken, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(known)), [short(entry.name) for _, entry in known])
    axes.set(ylim=(len(known) - 0.4, -0.6), xlim=(0, max(longest, 1e-9) * 1.18))
    axes.set_xlabel("fitting the chosen settings (s)")
    axes.grid(axis="x", alpha=0.35)
    axes.set_axisbelow(True)
    return figure


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
        return sorted(found, key=lambda name: float(found[name]))
    return list(found)


def _failed(axes: Axes, row: int, column: int) -> None:
    cell = Rectangle(
        (column - 0.5, row - 0.5), 1, 1, hatch="///", facecolor="#eeeeee", edgecolor="#999999"
    )
    axes.add_patch(cell)
    axes.text(
        column,
        row,
        "failed",
        ha="center",
        va="center",
        bbox={"facecolor": "white", "lw": 0, "pad": 2},
    )


def _blank(width: float, height: float) -> Figure:
    """Of this size in inches, with some room at its edges."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def _named(key: str) -> str:
    """`learning_rate` as `learning rate`"""
    return literal(key.replace("_", " "))


def _parts(figure: Estimate) -> tuple[float, float, float]:
    """A value and its interval, which holds it even where rounding says otherwise."""
    return figure.value, min(figure.low, figure.value), max(figure.high, figure.value)


def _span(axes: Axes, place: float, figure: Estimate | None, marker: str, colour: str) -> None:
    if figure is None:
        return
    value, low, high = _parts(figure)
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


def _twins(values: Sequence[float], place: int) -> int:
    """How many of the earlier values lie so near that their numbers would overlap."""
    width = max(max(values) - min(values), 1e-6)
    return sum(abs(value - values[place]) < 0.025 * width for value in values[:place])


def _families(
    figure: Figure,
    families: Sequence[Family],
    more: Sequence[Line2D] = (),
    told: Sequence[str] = (),
) -> None:
    """A legend of those families that are there."""
    kinds = [FAMILIES[family] for family in FAMILIES if family in families]
    handles = [
        Line2D([], [], marker=marker, color=colour, linestyle="", markeredgecolor="black")
        for _, marker, colour in kinds
    ]
    figure.legend(
        handles=[*handles, *more],
        labels=[*(name for name, *_ in kinds), *told],
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=9,
    )


def _name(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, Estimate]]) -> None:
    """Write a name beside each point, where it covers nothing."""
    canvas = FigureCanvasAgg(figure)
    # The places of points are final only when the layout is.
    canvas.draw()  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    scale = figure.dpi / 72
    drawn = [line.get_window_extent(renderer).padded(2) for line in axes.lines]
    bars = [
        Bbox(axes.transData.transform([(x, low), (x, high)])).padded(2)
        for _, x, span in points
        for _, low, high in [_parts(span)]
    ]
    labels = placement.Labels(axes.get_window_extent(renderer), [*drawn, *bars], scale)
    for name, x, span in points:
        text = axes.annotate(
            short(name), (x, span.value), xytext=(0, 0), textcoords="offset points", fontsize=9.5
        )
        across, up = (float(each) for each in axes.transData.transform((x, span.value)))
        extent = text.get_window_extent(renderer)
        box = labels.place((across, up), (extent.width, extent.height))
        text.set_position(((box.x0 - across) / scale, (box.y0 - up) / scale))
        if labels.is_far((across, up), box):
            end = axes.transData.inverted().transform(placement.nearest((across, up), box))
            axes.plot([x, end[0]], [span.value, end[1]], color=GREY, linewidth=0.8, zorder=1)
