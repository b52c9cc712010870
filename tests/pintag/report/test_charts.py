"""Charts of a study: they show every figure, and are readable whatever the names are."""

from __future__ import annotations

import io

import pytest
from matplotlib.figure import Figure
from PIL import Image

from pintag.evaluation import plots
from pintag.report import charts, tradeoff, tuning
from pintag.report.results import Family, Scores
from tests.pintag import studies
from tests.pintag.drawings import all_texts, ticks

LONG = [f"a very long label whose name never ends, number {number:02}" for number in range(20)]
ODD = ("<b>$x$_1</b>", "\u732b \U0001f408 \udcff\n\ttab")
FAMILIES: tuple[Family, ...] = ("svm", "network", "transfer", "fine_tuned")


def size(figure: Figure) -> tuple[int, int]:
    return Image.open(io.BytesIO(plots.encode(figure, "png"))).size


def test_recalls_have_a_panel_for_each_label_and_a_row_for_each_model() -> None:
    labels = [f"label {number}" for number in range(8)]
    models = [
        studies.model(f"model {number}", 12 + number, FAMILIES[number % 4], labels)
        for number in range(8)
    ]
    figure = charts.recalls([*models, studies.failed("failed")], labels)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == labels
    assert ticks(figure.axes[0]) == [f"model {number}" for number in range(8)]
    # Two lines for each model: its interval and its value.
    assert all(len(axes.lines) == 16 for axes in figure.axes)


def test_twenty_long_labels_are_readable() -> None:
    models = [studies.model(name, labels=LONG) for name in LONG[:9]]
    figure = charts.recalls(models, LONG)
    assert figure is not None
    assert size(figure)[1] > 1000
    assert len({axes.get_title() for axes in figure.axes}) == 20
    axes = charts.recall(models[0].test or studies.scores(), LONG).axes[0]
    assert len(set(ticks(axes))) == 20


def test_recall_of_one_model_shows_the_numbers_of_images() -> None:
    assert ticks(charts.recall(studies.scores(), studies.LABELS).axes[0]) == [
        "cats (20)",
        "dogs (20)",
    ]


def test_models_without_figures_have_no_chart() -> None:
    failed, untimed = studies.failed("failed"), studies.model("untimed")
    assert charts.recalls([failed], studies.LABELS) is None
    assert charts.training([failed, untimed], {}) is None


@pytest.mark.parametrize("hits", [(18,), (18, 17, 19), (18, 18, 18, 18, 18)])
def test_a_cross_validation_shows_each_fold(hits: tuple[int, ...]) -> None:
    validations = [studies.folds("one", *hits), studies.folds("another", 20, 10)]
    axes = charts.cross_validation(validations).axes[0]
    points, others = (line for line in axes.lines if line.get_marker() == "o")
    assert list(points.get_xdata()) == [count / 20 for count in hits]
    assert list(others.get_xdata()) == [1.0, 0.5]
    # Equal folds are separate dots.
    assert len(set(zip(points.get_xdata(), points.get_ydata(), strict=True))) == len(hits)
    assert ticks(axes) == ["one", "another"]
    means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert means == [validation.mean.value for validation in validations]


def test_a_reliability_diagram_shows_the_counts() -> None:
    figure = charts.reliability(studies.scores())
    assert {"10", "30"} <= set(all_texts(figure))
    bars = figure.axes[1].patches
    assert [bar.get_height() for bar in bars] == [10, 30]
    assert bars[0].get_x() <= 0.62 <= bars[0].get_x() + bars[0].get_width()


def test_training_times_have_units_and_ascend() -> None:
    figure = charts.training(
        [studies.model("slow"), studies.model("fast"), studies.model("unknown")],
        {"slow": 200.0, "fast": 0.5},
    )
    assert figure is not None
    assert ticks(figure.axes[0]) == ["fast", "slow"]
    assert {"500\u00a0ms", "3\u00a0min 20\u00a0s"} <= set(all_texts(figure))


def test_odd_names_can_be_drawn() -> None:
    models = [studies.model(name, labels=ODD) for name in ODD]
    seconds = dict.fromkeys(ODD, 0.01)
    drawn = [
        charts.recalls(models, ODD),
        charts.recall(studies.scores(labels=ODD), ODD),
        tradeoff.chart(tradeoff.points(models, seconds), 0.05),
        charts.training(models, seconds),
        tuning.chart(studies.grid(**{ODD[0]: ["$a$", "$b"], ODD[1]: ["c", "d"]}), 0),
    ]
    for figure in drawn:
        assert figure is not None
        assert size(figure)[0] > 400


def test_the_same_figures_give_the_same_files() -> None:
    def svg() -> bytes:
        return plots.encode(charts.recall(studies.scores(), studies.LABELS), "svg")

    assert svg() == svg()
    assert svg().startswith(b"<?xml")


def test_a_label_without_recall_has_no_point() -> None:
    known = studies.scores()
    partial = Scores.model_validate(
        known.model_dump() | {"recall": {"cats": known.recall["cats"].model_dump()}}
    )
    assert len(charts.recall(partial, studies.LABELS).axes[0].lines) == 2


def test_charts_of_many_labels_show_the_hardest_ones() -> None:
    labels = [f"label {index:03}" for index in range(60)]
    scores = studies.scores(labels=labels)
    chosen = charts.hardest([scores], labels, 40)
    assert len(chosen) == 40
    assert list(chosen) == sorted(chosen)
    left = max(scores.recall[label].value for label in chosen)
    assert left <= min(scores.recall[label].value for label in set(labels) - set(chosen))
    assert len(charts.recall(scores, labels).axes[0].get_yticklabels()) == 40
