"""Charts of a study: they show every figure, and can be read whatever the names are."""

from __future__ import annotations

import io
import itertools

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from pintag import charts, plots
from pintag.results import Family, Scores, Trial
from tests.pintag import studies

LONG = [f"a very long label whose name never ends, number {number:02}" for number in range(20)]
ODD = ("<b>$x$_1</b>", "\u732b \U0001f408 \udcff\n\ttab")
FAMILIES: tuple[Family, ...] = ("svm", "network", "transfer", "fine_tuned")


def written(figure: Figure | None) -> list[str]:
    """Every text of a chart."""
    assert figure is not None
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def size(figure: Figure) -> tuple[int, int]:
    return Image.open(io.BytesIO(plots.saved(figure, "png"))).size


def ticks(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_every_cell_of_a_tuning_map_has_its_figure() -> None:
    trials = studies.grid(C=[0.5, 2, 8], gamma=[0.01, 0.1])
    texts = written(charts.tuning(trials, 5))
    assert {f"{100 * (20 + number) / 40:.1f}" for number in range(6)} <= set(texts)
    assert {"C", "gamma", "0.5", "2", "8", "0.01", "0.1", "validation accuracy (%)"} <= set(texts)


def test_settings_of_a_tuning_map_are_in_the_order_of_their_size() -> None:
    figure = charts.tuning(studies.grid(batch_size=[16, 128, 32], learning_rate=[0.1, 0.01]), None)
    assert figure is not None
    assert ticks(figure.axes[0]) == ["16", "32", "128"]
    assert [each.get_text() for each in figure.axes[0].get_xticklabels()] == ["0.01", "0.1"]


def test_a_setting_that_failed_is_marked_as_such() -> None:
    trials = studies.grid(C=[1, 2], gamma=[0.1, 0.2])
    trials[0] = Trial(settings=trials[0].settings, failure="out of memory")
    assert "failed" in written(charts.tuning(trials, 3))


def test_the_chosen_setting_is_framed() -> None:
    trials = studies.grid(C=[1, 2], gamma=[0.1, 0.2])
    one, two = charts.tuning(trials, 3), charts.tuning(trials, None)
    assert one is not None
    assert two is not None
    assert len(one.axes[0].patches) == len(two.axes[0].patches) + 1


def test_what_is_no_grid_of_two_settings_has_no_map() -> None:
    one = studies.grid(C=[1], gamma=[0.1])
    three = [
        Trial(settings={"a": a, "b": b, "c": c}, validation_accuracy=studies.share(1, 2))
        for a, b, c in itertools.product((1, 2), repeat=3)
    ]
    failed = [Trial(settings={"C": c, "gamma": 1}, failure="no") for c in (1, 2)]
    for trials in ([], one, three, failed):
        assert charts.tuning(trials, None) is None


def test_a_third_setting_that_never_changes_is_no_axis() -> None:
    trials = [
        Trial(settings={"a": a, "b": b, "c": [1]}, validation_accuracy=studies.share(1, 2))
        for a, b in itertools.product((1, 2), repeat=2)
    ]
    assert {"a", "b"} <= set(written(charts.tuning(trials, 0)))


def test_recall_has_a_panel_for_each_label_and_a_row_for_each_entry() -> None:
    labels = [f"label {number}" for number in range(8)]
    entries = [
        studies.entry(f"entry {number}", 12 + number, FAMILIES[number % 4], labels)
        for number in range(8)
    ]
    figure = charts.recalls([*entries, studies.failed("failed")], labels)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == labels
    assert ticks(figure.axes[0]) == [f"entry {number}" for number in range(8)]
    # Of each entry an interval and a point.
    assert all(len(axes.lines) == 16 for axes in figure.axes)


def test_families_are_told_by_markers_too() -> None:
    markers = [marker for _, marker, _ in charts.FAMILIES.values()]
    assert len(set(markers)) == len(markers)


def test_twenty_long_labels_can_be_read() -> None:
    entries = [studies.entry(name, labels=LONG) for name in LONG[:9]]
    figure = charts.recalls(entries, LONG)
    assert figure is not None
    assert size(figure)[1] > 1000
    assert len({axes.get_title() for axes in figure.axes}) == 20
    axes = charts.recall(entries[0].test or studies.scores(), LONG).axes[0]
    assert len(set(ticks(axes))) == 20


def test_recall_of_one_entry_says_how_many_images_there_are() -> None:
    assert ticks(charts.recall(studies.scores(), studies.LABELS).axes[0]) == [
        "cats (20)",
        "dogs (20)",
    ]


def test_names_in_the_chart_of_accuracy_and_time_do_not_overlap() -> None:
    entries = [studies.entry(f"entry-{number}", 18 - number % 3) for number in range(12)]
    seconds = {each.name: 0.01 + number / 1e5 for number, each in enumerate(entries)}
    figure = charts.trade(entries, seconds, 0.02)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert len(boxes) == 12
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    room = figure.axes[0].get_window_extent(renderer)
    assert all(room.x0 <= box.x0 and box.x1 <= room.x1 for box in boxes)


def test_the_chart_of_accuracy_and_time_shows_the_budget_and_the_unit() -> None:
    figure = charts.trade([studies.entry("one")], {"one": 0.01}, 0.05)
    assert any("latency budget" in text for text in written(figure))
    assert any(text.endswith(" ms") for text in written(figure))
    assert figure is not None
    assert figure.axes[0].get_xscale() == "log"


def test_what_has_no_figures_is_in_no_chart() -> None:
    failed, untimed = studies.failed("failed"), studies.entry("untimed")
    assert charts.trade([failed, untimed], {"failed": 0.1}, 0.05) is None
    assert charts.recalls([failed], studies.LABELS) is None
    assert charts.training([failed, untimed], {}) is None
    texts = written(charts.trade([untimed, studies.entry("timed")], {"timed": 0.1}, 0.0))
    assert "timed" in texts
    assert "untimed" not in texts


@pytest.mark.parametrize("hits", [(18,), (18, 17, 19), (18, 18, 18, 18, 18)])
def test_a_cross_validation_shows_each_fold(hits: tuple[int, ...]) -> None:
    axes = charts.cross_validation(studies.folds("one", *hits)).axes[0]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in points] == [each / 20 for each in hits]
    places = {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in points}
    assert len(places) == len(hits)
    numbers = [text.get_text() for text in axes.texts]
    assert numbers == [str(number + 1) for number in range(len(hits))]


def test_a_reliability_diagram_shows_the_counts() -> None:
    figure = charts.reliability(studies.scores())
    assert {"10", "30"} <= set(written(figure))
    bars = figure.axes[1].patches
    assert [bar.get_height() for bar in bars] == [10, 30]
    assert bars[0].get_x() <= 0.62 <= bars[0].get_x() + bars[0].get_width()


def test_training_shows_the_shortest_first_with_its_unit() -> None:
    figure = charts.training(
        [studies.entry("slow"), studies.entry("fast"), studies.entry("unknown")],
        {"slow": 200.0, "fast": 0.5},
    )
    assert figure is not None
    assert ticks(figure.axes[0]) == ["fast", "slow"]
    assert {"500\u00a0ms", "3\u00a0min 20\u00a0s"} <= set(written(figure))


def test_odd_names_are_drawn_as_they_are() -> None:
    entries = [studies.entry(name, labels=ODD) for name in ODD]
    seconds = dict.fromkeys(ODD, 0.01)
    drawn = [
        charts.recalls(entries, ODD),
        charts.recall(studies.scores(labels=ODD), ODD),
        charts.trade(entries, seconds, 0.05),
        charts.training(entries, seconds),
        charts.tuning(studies.grid(**{ODD[0]: ["$a$", "$b"], ODD[1]: ["c", "d"]}), 0),
    ]
    for figure in drawn:
        assert figure is not None
        assert size(figure)[0] > 400


def test_the_same_figures_give_the_same_files() -> None:
    def svg() -> bytes:
        return plots.saved(charts.recall(studies.scores(), studies.LABELS), "svg")

    assert svg() == svg()
    assert svg().startswith(b"<?xml")


def test_a_label_without_recall_has_no_point() -> None:
    known = studies.scores()
    partial = Scores.model_validate(
        known.model_dump() | {"recall": {"cats": known.recall["cats"].model_dump()}}
    )
    assert len(charts.recall(partial, studies.LABELS).axes[0].lines) == 2
