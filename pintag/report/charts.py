"""The charts of a study. A chart without data is None.

Markers and labels repeat the meaning of every colour, so that no reader depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pintag.core import formatting
from pintag.evaluation import significance
from pintag.evaluation.calibration import BINS
from pintag.evaluation.plots import PERCENT, shorten
from pintag.report import chart_style
from pintag.report.chart_style import BLUE, FAMILIES, GREY, SKY, VERMILION
from pintag.report.results import CrossValidation, ModelResult, Scores

# The longest names on the axes of small charts, in characters.
_MODEL_NAME, _LABEL_NAME = 22, 24
# Of more labels than this, a chart shows those with the lowest recall.
_MOST_PANELS, _MOST_ROWS = 24, 40


def recalls(models: Sequence[ModelResult], labels: Sequence[str]) -> Figure | None:
    """Recall of each label by each model: one panel for each label, or for the hardest ones."""
    tested = [(model, model.test) for model in models if model.test]
    if not tested:
        return None
    labels = hardest([scores for _, scores in tested], labels, _MOST_PANELS)
    columns = min(len(labels), 4)
    rows = -(-len(labels) // columns)
    figure = chart_style.new_figure(2.1 * columns + 2.4, rows * (0.25 * len(tested) + 0.6) + 0.9)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, label in zip(panels.flat, labels, strict=False):
        _draw_recalls(panel, tested, label)
    for panel in panels.flat[len(labels) :]:
        panel.axis("off")
    panels[0, 0].set(xlim=(-0.03, 1.03), xticks=[0, 0.5, 1], ylim=(len(tested) - 0.4, -0.6))
    names = [shorten(model.name, _MODEL_NAME) for model, _ in tested]
    panels[0, 0].set_yticks(range(len(tested)), names)
    for panel in panels.flat:
        panel.tick_params(labelsize=9, labelbottom=True)
    figure.supxlabel("recall on the test split (%), with 95 % intervals", fontsize=10)
    chart_style.add_legend(figure, [model.family for model, _ in tested])
    return figure


def recall(scores: Scores, labels: Sequence[str]) -> Figure:
    """Recall of each label by one model, or of the hardest ones."""
    counts = dict(zip(labels, (sum(row) for row in scores.confusion), strict=True))
    labels = hardest([scores], labels, _MOST_ROWS)
    figure = chart_style.new_figure(6, 0.34 * len(labels) + 1.3)
    axes = figure.add_subplot()
    for row, label in enumerate(labels):
        chart_style.draw_interval(axes, row, scores.recall.get(label), "o", BLUE)
    names = [f"{shorten(label)} ({counts[label]})" for label in labels]
    axes.set_yticks(range(len(labels)), names)
    axes.set(xlim=(-0.03, 1.03), ylim=(len(labels) - 0.4, -0.6))
    axes.set_xlabel("recall (%), with 95 % intervals\nin brackets: number of images")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.grid(axis="x", alpha=0.35)
    return figure


def hardest(scores: Sequence[Scores], labels: Sequence[str], most: int) -> Sequence[str]:
    """At most `most` labels, in their order: those with the lowest sum of recalls."""
    if len(labels) <= most:
        return labels

    def recall_of(label: str) -> float:
        recalls = (each.recall.get(label) for each in scores)
        return sum(1.0 if each is None else each.value for each in recalls)

    chosen = set(sorted(labels, key=recall_of)[:most])
    return [label for label in labels if label in chosen]


def cross_validation(validations: Sequence[CrossValidation]) -> Figure:
    """The accuracies of the folds of each model, a box over them, and their mean below."""
    figure = chart_style.new_figure(7.5, 1.3 + 1.1 * len(validations))
    axes = figure.add_subplot()
    axes.boxplot(
        [[fold.value for fold in validation.folds] for validation in validations],
        orientation="horizontal",
        positions=range(len(validations)),
        widths=0.36,
        showfliers=False,
        medianprops={"color": "black", "linewidth": 2},
    )
    for row, validation in enumerate(validations):
        _draw_folds(axes, row, validation)
    names = [shorten(validation.entry, _MODEL_NAME) for validation in validations]
    axes.set_yticks(range(len(validations)), names)
    axes.set_ylim(len(validations) - 0.4, -0.6)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("accuracy of a fold (%)")
    axes.grid(axis="x", alpha=0.35)
    return figure


def reliability(scores: Scores) -> Figure:
    """The accuracy of answers by their confidence; below, the number of answers."""
    figure = chart_style.new_figure(5.4, 5.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _draw_accuracies(top, scores)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    _draw_counts(bottom, scores)
    return figure


def training(models: Sequence[ModelResult], seconds: Mapping[str, float]) -> Figure | None:
    """The training time of each model in `seconds`, the shortest first."""
    timed = [(seconds[model.name], model) for model in models if model.name in seconds]
    if not timed:
        return None
    timed.sort(key=lambda pair: pair[0])
    figure = chart_style.new_figure(8, 0.36 * len(timed) + 1.3)
    axes = figure.add_subplot()
    longest = max(value for value, _ in timed)
    for row, (value, _) in enumerate(timed):
        axes.barh(row, value, color=SKY, edgecolor="black", linewidth=0.6)
        axes.annotate(
            formatting.seconds(value),
            (value, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(timed)), [shorten(model.name) for _, model in timed])
    axes.set(ylim=(len(timed) - 0.4, -0.6), xlim=(0, max(longest, 1e-9) * 1.18))
    axes.set_xlabel("training time of the chosen settings (s)")
    axes.grid(axis="x", alpha=0.35)
    axes.set_axisbelow(True)
    return figure


def _draw_recalls(panel: Axes, tested: Sequence[tuple[ModelResult, Scores]], label: str) -> None:
    for row, (model, scores) in enumerate(tested):
        _, marker, colour = FAMILIES[model.family]
        chart_style.draw_interval(panel, row, scores.recall.get(label), marker, colour)
    panel.set_title(shorten(label, _LABEL_NAME), fontsize=10)
    panel.grid(axis="x", alpha=0.35)
    panel.xaxis.set_major_formatter(PERCENT)


def _draw_folds(axes: Axes, row: int, validation: CrossValidation) -> None:
    values = [fold.value for fold in validation.folds]
    # Folds with nearly equal accuracies are drawn one above the other, or one would hide the other.
    heights = [row - 0.07 * _earlier_overlaps(values, index) for index in range(len(values))]
    folds = axes.plot(values, heights, "o", color=BLUE, ms=7, markeredgecolor="white", zorder=3)
    mean, low, high = chart_style.with_ends(validation.mean)
    means = axes.errorbar(
        mean,
        row + 0.34,
        xerr=[[mean - low], [high - mean]],
        fmt="D",
        color=VERMILION,
        capsize=4,
        ms=7,
    )
    if row == 0:  # The legend needs each label once.
        folds[0].set_label("folds, with a box over them")
        means.set_label("mean, with its 95 % interval")


def _draw_accuracies(axes: Axes, scores: Scores) -> None:
    axes.plot(
        [0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="perfect calibration"
    )
    for group in scores.reliability:
        interval = significance.share(round(group.accuracy * group.images), group.images)
        axes.vlines(group.confidence, interval.low, interval.high, color=BLUE, linewidth=1.3)
    axes.plot(
        [group.confidence for group in scores.reliability],
        [group.accuracy for group in scores.reliability],
        # Without a line, which would jump up and down between bins of one or two images.
        "o",
        color=BLUE,
        label="this model, with 95 % intervals",
    )
    axes.set(ylim=(-0.03, 1.03), ylabel="right answers (%)")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.grid(alpha=0.3)


def _draw_counts(axes: Axes, scores: Scores) -> None:
    for group in scores.reliability:
        start = max(0, int(np.ceil(group.confidence * BINS)) - 1) / BINS
        axes.bar(
            start, group.images, 1 / BINS, align="edge", color=SKY, edgecolor="black", linewidth=0.7
        )
        axes.annotate(
            str(group.images),
            (start + 0.5 / BINS, group.images),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set(
        xlim=(-0.01, 1.01), xlabel="confidence of the top answer (%)", ylabel="number of images"
    )
    axes.margins(y=0.3)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))


def _earlier_overlaps(values: Sequence[float], index: int) -> int:
    """How many of the values before this index are so near that their dots would overlap."""
    width = max(max(values) - min(values), 1e-6)
    return sum(abs(value - values[index]) < 0.025 * width for value in values[:index])
