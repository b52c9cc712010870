"""Accuracy against time: readable names, the latency budget, and the Pareto front."""

from __future__ import annotations

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg

from pintag.report import tradeoff
from pintag.report.tradeoff import TradeoffPoint
from tests.pintag import studies
from tests.pintag.drawings import all_texts


def points(**models: tuple[int, float]) -> list[TradeoffPoint]:
    """Models by name: right answers out of 20, and seconds for one image."""
    return [
        TradeoffPoint(name, "transfer", seconds, studies.share(hits, 20))
        for name, (hits, seconds) in models.items()
    ]


def test_names_do_not_overlap() -> None:
    models = [studies.model(f"model-{number}", 18 - number % 3) for number in range(12)]
    seconds = {model.name: 0.01 + number / 1e5 for number, model in enumerate(models)}
    figure = tradeoff.chart(tradeoff.points(models, seconds), 0.02)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert len(boxes) == 12
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    area = figure.axes[0].get_window_extent(renderer)
    assert all(area.x0 <= box.x0 and box.x1 <= area.x1 for box in boxes)


def test_the_chart_shows_the_budget_and_the_unit() -> None:
    figure = tradeoff.chart(points(one=(18, 0.01)), 0.05)
    assert any("latency budget" in text for text in all_texts(figure))
    assert any(text.endswith(" ms") for text in all_texts(figure))
    assert figure is not None
    assert figure.axes[0].get_xscale() == "log"


def test_a_model_without_accuracy_or_time_is_left_out() -> None:
    models = [studies.failed("failed"), studies.model("untimed"), studies.model("timed")]
    timed = tradeoff.points(models, {"failed": 0.1, "timed": 0.2})
    assert [point.name for point in timed] == ["timed"]
    assert tradeoff.chart([], 0.05) is None


def test_the_front_has_the_models_that_no_other_beats() -> None:
    shown = points(slow=(19, 0.3), poor=(11, 0.2), good=(17, 0.1), quick=(12, 0.01))
    assert [point.name for point in tradeoff.pareto_front(shown)] == ["quick", "good", "slow"]


def test_a_slower_model_of_equal_accuracy_is_not_on_the_front() -> None:
    shown = points(slower=(17, 0.2), faster=(17, 0.1), worse=(16, 0.1))
    assert [point.name for point in tradeoff.pareto_front(shown)] == ["faster"]


def test_a_front_of_one_model_is_not_drawn() -> None:
    assert any(
        "Pareto" in text for text in all_texts(tradeoff.chart(points(a=(9, 1), b=(10, 2)), 0))
    )
    for lone in (points(a=(9, 1)), points(a=(9, 2), b=(10, 1))):
        assert not any("Pareto" in text for text in all_texts(tradeoff.chart(lone, 0)))


def test_a_budget_of_zero_is_not_drawn() -> None:
    assert not any("budget" in text for text in all_texts(tradeoff.chart(points(a=(9, 1)), 0)))
