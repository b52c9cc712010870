"""Accuracy against time: names that can be read, the budget, and what is worth its time."""

from __future__ import annotations

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg

from pintag import tradeoff
from pintag.tradeoff import Point
from tests.pintag import studies
from tests.pintag.drawings import written


def points(**models: tuple[int, float]) -> list[Point]:
    """Of each model how many of 20 images it has right, and its seconds."""
    return [
        Point(name, "transfer", seconds, studies.share(hits, 20))
        for name, (hits, seconds) in models.items()
    ]


def test_names_in_the_chart_of_accuracy_and_time_do_not_overlap() -> None:
    entries = [studies.entry(f"entry-{number}", 18 - number % 3) for number in range(12)]
    seconds = {each.name: 0.01 + number / 1e5 for number, each in enumerate(entries)}
    figure = tradeoff.chart(tradeoff.points(entries, seconds), 0.02)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert len(boxes) == 12
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    room = figure.axes[0].get_window_extent(renderer)
    assert all(room.x0 <= box.x0 and box.x1 <= room.x1 for box in boxes)


def test_the_chart_of_accuracy_and_time_shows_the_budget_and_the_unit() -> None:
    figure = tradeoff.chart(points(one=(18, 0.01)), 0.05)
    assert any("latency budget" in text for text in written(figure))
    assert any(text.endswith(" ms") for text in written(figure))
    assert figure is not None
    assert figure.axes[0].get_xscale() == "log"


def test_what_lacks_either_figure_is_no_point() -> None:
    entries = [studies.failed("failed"), studies.entry("untimed"), studies.entry("timed")]
    found = tradeoff.points(entries, {"failed": 0.1, "timed": 0.2})
    assert [point.name for point in found] == ["timed"]
    assert tradeoff.chart([], 0.05) is None


def test_the_front_has_what_nothing_else_beats() -> None:
    found = points(slow=(19, 0.3), poor=(11, 0.2), good=(17, 0.1), quick=(12, 0.01))
    assert [point.name for point in tradeoff.front(found)] == ["quick", "good", "slow"]


def test_what_is_slower_and_no_better_is_not_on_the_front() -> None:
    found = points(slower=(17, 0.2), faster=(17, 0.1), worse=(16, 0.1))
    assert [point.name for point in tradeoff.front(found)] == ["faster"]


def test_the_front_is_drawn_where_there_is_a_choice() -> None:
    assert any("Pareto" in text for text in written(tradeoff.chart(points(a=(9, 1), b=(10, 2)), 0)))
    for lone in (points(a=(9, 1)), points(a=(9, 2), b=(10, 1))):
        assert not any("Pareto" in text for text in written(tradeoff.chart(lone, 0)))


def test_a_budget_of_nothing_is_no_line() -> None:
    assert not any("budget" in text for text in written(tradeoff.chart(points(a=(9, 1)), 0)))
