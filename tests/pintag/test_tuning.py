"""A map of two settings: every trial in its cell, the chosen one framed."""

from __future__ import annotations

import itertools

from pintag import tuning
from pintag.results import Trial
from tests.pintag import studies
from tests.pintag.drawings import ticks, written


def test_every_cell_of_a_tuning_map_has_its_figure() -> None:
    trials = studies.grid(C=[0.5, 2, 8], gamma=[0.01, 0.1])
    texts = written(tuning.chart(trials, 5))
    assert {f"{100 * (20 + number) / 40:.1f}" for number in range(6)} <= set(texts)
    assert {"C", "gamma", "0.5", "2", "8", "0.01", "0.1", "validation accuracy (%)"} <= set(texts)


def test_settings_of_a_tuning_map_are_in_the_order_of_their_size() -> None:
    figure = tuning.chart(studies.grid(batch_size=[16, 128, 32], learning_rate=[0.1, 0.01]), None)
    assert figure is not None
    assert ticks(figure.axes[0]) == ["16", "32", "128"]
    assert [each.get_text() for each in figure.axes[0].get_xticklabels()] == ["0.01", "0.1"]


def test_a_setting_that_failed_is_marked_as_such() -> None:
    trials = studies.grid(C=[1, 2], gamma=[0.1, 0.2])
    trials[0] = Trial(settings=trials[0].settings, failure="out of memory")
    assert "failed" in written(tuning.chart(trials, 3))


def test_a_setting_of_the_grid_that_was_not_tried_is_no_bad_one() -> None:
    full = studies.grid(C=[1, 2], gamma=[0.1, 0.2])
    assert "not tried" in written(tuning.chart(full[:-1], 0))
    assert "not tried" not in written(tuning.chart(full, 0))


def test_the_chosen_setting_is_framed() -> None:
    trials = studies.grid(C=[1, 2], gamma=[0.1, 0.2])
    one, two = tuning.chart(trials, 3), tuning.chart(trials, None)
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
        assert tuning.chart(trials, None) is None


def test_a_third_setting_that_never_changes_is_no_axis() -> None:
    trials = [
        Trial(settings={"a": a, "b": b, "c": [1]}, validation_accuracy=studies.share(1, 2))
        for a, b in itertools.product((1, 2), repeat=2)
    ]
    assert {"a", "b"} <= set(written(tuning.chart(trials, 0)))


def test_switches_are_settings_as_well() -> None:
    figure = tuning.chart(studies.grid(augment=[True, False], C=[1, 2]), 0)
    assert figure is not None
    assert ticks(figure.axes[0]) == ["False", "True"]


def test_figures_are_read_on_any_colour_of_their_cells() -> None:
    figure = tuning.chart(studies.grid(C=[1, 2, 3, 4], gamma=[0.1, 0.2, 0.3]), None)
    assert figure is not None
    colours = [text.get_color() for text in figure.axes[0].texts]
    assert colours == sorted(colours)
    assert set(colours) == {"black", "white"}
