"""The charts of a study: what was found, drawn so that it is not told by colour alone.

A chart of what is not known is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pintag import canvas, quantities, significance
from pintag.calibration import BINS
from pintag.canvas import BLUE, FAMILIES, GREY, SKY, VERMILION
from pintag.plots import short
from pintag.results import CrossValidation, Entry, Scores


def recalls(entries: Sequence[Entry], labels: Sequence[str]) -> Figure | None:
    """Recall of every label by every entry, a panel for each label."""
    tested = [(entry, entry.test) for entry in entries if entry.test]
    if not tested:
        return None
    columns = min(len(labels), 4)
    rows = -(-len(labels) // columns)
    figure = canvas.blank(2.1 * columns + 2.4, rows * (0.25 * len(tested) + 0.6) + 0.9)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, label in zip(panels.flat, labels, strict=False):
        for place, (entry, scores) in enumerate(tested):
            _, marker, colour = FAMILIES[entry.family]
            canvas.span(panel, place, scores.recall.get(label), marker, colour)
        panel.set_title(short(label, 24), fontsize=10)
        panel.grid(axis="x", alpha=0.35)
        panel.xaxis.set_major_formatter(canvas.PERCENT)
    for panel in panels.flat[len(labels) :]:
        panel.axis("off")
    panels[0, 0].set(xlim=(-0.03, 1.03), xticks=[0, 0.5, 1], ylim=(len(tested) - 0.4, -0.6))
    panels[0, 0].set_yticks(range(len(tested)), [short(entry.name, 22) for entry, _ in tested])
    for panel in panels.flat:
        panel.tick_params(labelsize=9, labelbottom=True)
    figure.supxlabel("recall on the test split (%), with 95 % intervals", fontsize=10)
    canvas.families(figure, [entry.family for entry, _ in tested])
    return figure


def recall(scores: Scores, labels: Sequence[str]) -> Figure:
    """Recall of every label by one model."""
    figure = canvas.blank(6, 0.34 * len(labels) + 1.3)
    axes = figure.add_subplot()
    for place, label in enumerate(labels):
        canvas.span(axes, place, scores.recall.get(label), "o", BLUE)
    images = [sum(row) for row in scores.confusion]
    names = [f"{short(label)} ({count})" for label, count in zip(labels, images, strict=True)]
    axes.set_yticks(range(len(labels)), names)
    axes.set(xlim=(-0.03, 1.03), ylim=(len(labels) - 0.4, -0.6))
    axes.set_xlabel("recall (%), with 95 % intervals\nin brackets: images")
    axes.xaxis.set_major_formatter(canvas.PERCENT)
    axes.grid(axis="x", alpha=0.35)
    return figure


def cross_validation(found: Sequence[CrossValidation]) -> Figure:
    """Of each model a box over the accuracies of its folds, and below their mean."""
    figure = canvas.blank(7.5, 1.3 + 1.1 * len(found))
    axes = figure.add_subplot()
    axes.boxplot(
        [[fold.value for fold in each.folds] for each in found],
        orientation="horizontal",
        positions=range(len(found)),
        widths=0.36,
        showfliers=False,
        medianprops={"color": "black", "linewidth": 2},
    )
    for place, each in enumerate(found):
        values = [fold.value for fold in each.folds]
        # Folds that are as good as equal lie above one another.
        heights = [place - 0.07 * _twins(values, number) for number in range(len(values))]
        folds = axes.plot(values, heights, "o", color=BLUE, ms=7, markeredgecolor="white", zorder=3)
        mean, low, high = canvas.parts(each.mean)
        spread = [[mean - low], [high - mean]]
        means = axes.errorbar(
            mean, place + 0.34, xerr=spread, fmt="D", color=VERMILION, capsize=4, ms=7
        )
        if place == 0:
            folds[0].set_label("folds, and a box over them")
            means.set_label("mean, 95 % interval")
    axes.set_yticks(range(len(found)), [short(each.entry, 22) for each in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    axes.xaxis.set_major_formatter(canvas.PERCENT)
    axes.set_xlabel("accuracy of a fold (%)")
    axes.grid(axis="x", alpha=0.35)
    return figure


def reliability(scores: Scores) -> Figure:
    """How often answers of a confidence are right; below, how many answers have it."""
    figure = canvas.blank(5.4, 5.6)
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
        # No line: it would leap between bins of one or two images.
        "o",
        color=BLUE,
        label="this model, with 95 % intervals",
    )
    top.set(ylim=(-0.03, 1.03), ylabel="answers that are right (%)")
    top.yaxis.set_major_formatter(canvas.PERCENT)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9, frameon=False)
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
    bottom.xaxis.set_major_formatter(canvas.PERCENT)
    bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    top.grid(alpha=0.3)
    return figure


def training(entries: Sequence[Entry], seconds: Mapping[str, float]) -> Figure | None:
    """Seconds of fitting each entry's chosen trial, shortest first."""
    known = [(seconds[entry.name], entry) for entry in entries if entry.name in seconds]
    if not known:
        return None
    known.sort(key=lambda pair: pair[0])
    figure = canvas.blank(8, 0.36 * len(known) + 1.3)
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


def _twins(values: Sequence[float], place: int) -> int:
    """How many of the earlier values lie so near that their numbers would overlap."""
    width = max(max(values) - min(values), 1e-6)
    return sum(abs(value - values[place]) < 0.025 * width for value in values[:place])
