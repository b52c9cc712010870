"""The heat map of two settings: each trial has a cell, and the chosen one a frame."""

from __future__ import annotations

import itertools

from pintag.report import tuning
from pintag.report.results import ReportedTrial
from tests.pintag import studies
from tests.pintag.drawings import all_texts, ticks


def test_every_cell_of_a_heat_map_has_its_figure() -> None:
    trials = studies.grid(C=[0.5, 2, 8], gamma=[0.01, 0.1])
    texts = all_texts(tuning.chart(trials, 5))
    assert {f"{100 * (20 + number) / 40:.1f}" for number in range(6)} <= set(texts)
    assert {"C", "gamma", "0.5", "2", "8", "0.01", "0.1", "validation accuracy (%)"} <= set(texts)


def test_the_settings_of_a_heat_map_are_in_ascending_order() -> None:
    figure = tuning.chart(studies.grid(batch_size=[16, 128, 32], learning_rate=[0.1, 0.01]), None)
    assert figure is not None
    assert ticks(figure.axes[0]) == ["16", "32", "128"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0.01", "0.1"]


def test_a_setting_that_failed_is_marked() -> None:
    trials = studies.grid(C=[1, 2], gamma=[0.1, 0.2])
    trials[0] = ReportedTrial(settings=trials[0].settings, failure="out of memory")
    assert "failed" in all_texts(tuning.chart(trials, 3))


def test_a_setting_that_was_not_tried_is_marked() -> None:
    full = studies.grid(C=[1, 2], gamma=[0.1, 0.2])
    assert "not tried" in all_texts(tuning.chart(full[:-1], 0))
    assert "not tried" not in all_texts(tuning.chart(full, 0))


def test_the_chosen_setting_has_a_frame() -> None:
    trials = studies.grid(C=[1, 2], gamma=[0.1, 0.2])
    one, two = tuning.chart(trials, 3), tuning.chart(trials, None)
    assert one is not None
    assert two is not None
    assert len(one.axes[0].patches) == len(two.axes[0].patches) + 1


def test_only_a_grid_of_two_settings_has_a_heat_map() -> None:
    one = studies.grid(C=[1], gamma=[0.1])
    three = [
        ReportedTrial(settings={"a": a, "b": b, "c": c}, validation_accuracy=studies.share(1, 2))
        for a, b, c in itertools.product((1, 2), repeat=3)
    ]
    failed = [ReportedTrial(settings={"C": c, "gamma": 1}, failure="no") for c in (1, 2)]
    for trials in ([], one, three, failed):
        assert tuning.chart(trials, None) is None


def test_a_third_setting_that_never_changes_is_left_out() -> None:
    trials = [
        ReportedTrial(settings={"a": a, "b": b, "c": [1]}, validation_accuracy=studies.share(1, 2))
        for a, b in itertools.product((1, 2), repeat=2)
    ]
    assert {"a", "b"} <= set(all_texts(tuning.chart(trials, 0)))


def test_a_boolean_is_a_setting() -> None:
    figure = tuning.chart(studies.grid(augment=[True, False], C=[1, 2]), 0)
    assert figure is not None
    assert ticks(figure.axes[0]) == ["False", "True"]


def test_figures_are_readable_on_every_cell() -> None:
    figure = tuning.chart(studies.grid(C=[1, 2, 3, 4], gamma=[0.1, 0.2, 0.3]), None)
    assert figure is not None
    colours = [text.get_color() for text in figure.axes[0].texts]
    assert colours == sorted(colours)
    assert set(colours) == {"black", "white"}
