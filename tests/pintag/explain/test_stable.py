"""The stable mode: exact weights, correct intervals, and the end of sampling."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from pintag.core.errors import ExplainError
from pintag.core.types import Array
from pintag.explain.mask_designs import BLOCK, MOST_SEGMENTS
from pintag.explain.surrogate import rank
from tests.pintag.conftest import (
    Floats,
    additive,
    main_effects,
    model,
    shown,
    table,
)
from tests.pintag.explain.stable_helpers import (
    SUREST,
    WEIGHTS,
    find,
    intervals,
    only,
    rough,
)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [40, 66, 500])
def test_weights_that_add_up_are_recovered_exactly(seed: int, budget: int) -> None:
    result = only(model(additive(*WEIGHTS, start=-0.4)), 6, seed=seed, budget=budget)
    surrogate = result.surrogate
    np.testing.assert_allclose(surrogate.weights, WEIGHTS, atol=1e-9)
    assert surrogate.intercept == pytest.approx(-0.4, abs=1e-9)
    assert surrogate.score == pytest.approx(1)
    assert surrogate.scale == "log-odds"
    assert surrogate.prediction == pytest.approx(expit(sum(WEIGHTS) - 0.4))
    assert result.confidence == pytest.approx(surrogate.prediction)
    np.testing.assert_allclose(intervals(result), np.array([WEIGHTS, WEIGHTS]).T, atol=1e-5)


@pytest.mark.parametrize("segments", [33, 60])
def test_weights_of_many_segments_are_recovered_exactly(segments: int) -> None:
    """After one round nothing is claimed: it cannot separate more than 32 segments."""
    weights = np.random.default_rng(segments).normal(size=segments) * 2 / segments**0.5
    predict = model(additive(*weights, start=-weights.sum() / 2))
    for seed in range(3):
        early = only(predict, segments, seed=seed, budget=BLOCK + 1)
        assert early.claimed == 0
        assert np.isinf(intervals(early)).all()
        late = only(predict, segments, seed=seed, budget=2000)
        np.testing.assert_allclose(late.surrogate.weights, weights, atol=1e-9)
        assert (late.outcome, late.claimed) == ("separated", 3)


def test_single_precision_is_enough() -> None:
    def predict(images: Array) -> Any:
        return model(additive(*WEIGHTS))(images).astype(np.float32)

    np.testing.assert_allclose(only(predict, 6).surrogate.weights, WEIGHTS, atol=1e-5)


def test_an_interaction_of_two_segments_does_not_change_the_weights_of_others() -> None:
    """Each of the two gets half of it, for every seed."""

    def both(masks: Any) -> Floats:
        return masks @ np.array(WEIGHTS) + 2.0 * (masks[:, 0] & masks[:, 3])

    for seed in range(5):
        weights = only(model(both), 6, seed=seed, budget=66).surrogate.weights
        np.testing.assert_allclose(weights - WEIGHTS, [1, 0, 0, 1, 0, 0], atol=1e-9)


def test_weights_are_main_effects_if_every_set_of_segments_is_sampled() -> None:
    """A round has all 64 sets of six segments, so nothing is random."""
    for_label = rough(6)
    for seed in range(3):
        weights = only(model(for_label), 6, seed=seed, budget=66).surrogate.weights
        np.testing.assert_allclose(weights, main_effects(for_label, 6), atol=1e-9)


@pytest.mark.parametrize("segments", [8, 10, 12])
@pytest.mark.parametrize("level", [0.6, 0.95])
def test_intervals_cover_the_main_effects_at_their_level(segments: int, level: float) -> None:
    """They may be too wide: a design balances more than the errors account for."""
    for_label = rough(segments)
    truth = main_effects(for_label, segments)
    held, widths = [], []
    for seed in range(25):
        result = only(
            model(for_label), segments, seed=seed, budget=321, num_features=segments, level=level
        )
        low, high = intervals(result).T
        held.append((low <= truth) & (truth <= high))
        widths.append(high - low)
    assert np.mean(held) >= level - 0.03
    # They are still informative: narrower than the range of the effects.
    assert np.mean(widths) < 0.35 * np.ptp(truth)


def test_a_higher_level_makes_intervals_wider() -> None:
    widths = [
        np.ptp(intervals(only(model(rough(10)), 10, budget=257, num_features=10, level=level)))
        for level in (0.5, 0.9, 0.99)
    ]
    assert widths[0] < widths[1] < widths[2]


def test_claims_are_true_at_their_level() -> None:
    """Over models and seeds, the claimed sets of segments are the true ones."""
    right = []
    for number in range(12):
        for_label = rough(9, seed=number, noise=0.6)
        order = rank(main_effects(for_label, 9), positive_only=False)
        for seed in range(5):
            result = only(model(for_label), 9, seed=seed)
            count = result.claimed
            assert count is not None
            ranked = rank(result.surrogate.weights, positive_only=False)
            if count:
                right.append(set(ranked[:count]) == set(order[:count]))
    assert len(right) > 40
    assert np.mean(right) > 0.95


def test_sampling_ends_as_soon_as_the_requested_segments_are_separated() -> None:
    predict = model(rough(12, noise=0.4))
    taken = [find(predict, 12, num_features=1, level=level)[1] for level in (0.5, 0.9, 0.999999)]
    assert taken[0] <= taken[1] <= taken[2]
    assert taken[0] == 1 + BLOCK
    assert taken[2] > taken[0]
    clear, samples = find(model(additive(*WEIGHTS)), 6)
    assert samples == 1 + BLOCK
    assert clear[0].outcome == "separated"


def test_the_budget_is_used_up_if_all_segments_are_equal() -> None:
    results, samples = find(model(table(np.zeros(64))), 6)
    assert samples == 1 + 7 * BLOCK
    assert (results[0].outcome, results[0].claimed) == ("budget", 0)
    np.testing.assert_array_equal(results[0].surrogate.weights, np.zeros(6))


@pytest.mark.parametrize("budget", [2, 3, 33, 64, 65, 66, 128, 129, 200, 500, 513])
@pytest.mark.parametrize("segments", [1, 7, 40])
def test_no_more_images_are_predicted_than_the_budget(budget: int, segments: int) -> None:
    images = []

    def predict(batch: Array) -> Any:
        images.append(len(batch))
        # Close to noise, and deterministic.
        return expit(np.sin(1e4 * shown(batch) @ np.arange(1.0, segments + 1)))[:, np.newaxis]

    results, samples = find(predict, segments, budget=budget, num_features=1, level=0.9999)
    assert sum(images) == samples <= budget
    # Only the first round is ever cut, and as many rounds as possible are used.
    if results[0].outcome == "budget":
        assert samples == (budget if budget <= BLOCK else budget - (budget - 1) % BLOCK)
    assert np.isfinite(results[0].surrogate.weights).all()


@pytest.mark.parametrize("segments", [10, 33, 60])
@pytest.mark.parametrize("budget", [2, 5, 10])
def test_too_few_samples_give_infinite_intervals_and_no_claim(segments: int, budget: int) -> None:
    """And no weight is larger than the log-odds."""
    weights = np.random.default_rng(1).normal(size=segments) * 4 / segments**0.5
    predict = model(additive(*weights, start=-weights.sum() / 2))
    for seed in range(10):
        result = only(predict, segments, budget=budget, seed=seed)
        low, high = intervals(result).T
        assert (low == -np.inf).all()
        assert (high == np.inf).all()
        assert (result.outcome, result.claimed) == ("budget", 0)
        assert np.abs(result.surrogate.weights).max() < np.abs(weights).sum()
        assert 0 <= result.surrogate.prediction <= 1


@pytest.mark.parametrize("batch_size", [1, 8, 64, 100])
def test_a_stop_ends_sampling_with_the_result_so_far(batch_size: int) -> None:
    results, samples = find(
        model(table(np.zeros(2**6))), 6, batch_size=batch_size, stop=lambda: True
    )
    assert samples == max(2, min(batch_size, 1 + BLOCK))
    assert (results[0].outcome, results[0].claimed) == ("deadline", 0)


@pytest.mark.parametrize("calls", range(6))
def test_a_stop_may_come_within_or_between_rounds(calls: int) -> None:
    """The result so far is returned: here main effects that are not confounded."""
    counter = itertools.count(1)
    result = only(
        model(additive(2.0, 2.0, -2.0, 1.0)),
        4,
        batch_size=32,
        num_features=1,
        stop=lambda: next(counter) > calls,
    )
    assert result.outcome == "deadline"
    np.testing.assert_allclose(result.surrogate.weights, [2, 2, -2, 1], atol=1e-9)


def test_a_stop_after_separation_has_the_outcome_separated() -> None:
    results, samples = find(model(additive(*WEIGHTS)), 6, batch_size=33, stop=lambda: True)
    assert samples == 33
    assert (results[0].outcome, results[0].claimed) == ("separated", 3)


def test_one_segment() -> None:
    result = only(model(additive(3.0, start=-1.0)), 1, num_features=5)
    np.testing.assert_allclose(result.surrogate.weights, [3.0], atol=1e-9)
    assert (result.outcome, result.claimed) == ("separated", 1)


def test_confidences_of_zero_and_one_give_finite_weights() -> None:
    """A model that switches between zero and one, and two constant models."""
    step = model(lambda masks: np.where(masks[:, 2], np.inf, -np.inf))
    result = only(step, 6, num_features=1)
    np.testing.assert_allclose(result.surrogate.weights, [0, 0, 2 * SUREST, 0, 0, 0], atol=1e-6)
    assert (result.confidence, result.claimed) == (1.0, 1)
    for sure in (np.inf, -np.inf):
        result = only(model(table(np.full(64, sure))), 6)
        np.testing.assert_array_equal(result.surrogate.weights, np.zeros(6))
        assert np.isfinite(intervals(result)).all()
        assert result.claimed == 0
        assert result.surrogate.score == 1.0


def test_the_maximum_number_of_segments() -> None:
    """One round distributes a weight among the segments hidden together."""
    weights = np.zeros(MOST_SEGMENTS)
    weights[77] = 4.0
    result = only(model(additive(*weights)), MOST_SEGMENTS, budget=BLOCK + 1)
    assert result.surrogate.weights[77] == pytest.approx(4 / 8)
    assert result.surrogate.weights[77] == pytest.approx(result.surrogate.weights.max())
    assert (result.outcome, result.claimed) == ("budget", 0)


def test_too_many_superpixels_are_refused_before_any_prediction() -> None:
    def predict(images: Array) -> Any:
        raise AssertionError("no prediction was expected")

    with pytest.raises(ExplainError, match=r"257 superpixels; .* at most 256: .*coarser"):
        find(predict, MOST_SEGMENTS + 1)


def test_each_of_several_labels_gets_its_own_result() -> None:
    predict = model(additive(*WEIGHTS), additive(*WEIGHTS[::-1]), additive(*(6 * [0.25])))
    results, samples = find(predict, 6, labels=[2, 0, 1], num_features=1)
    assert [result.label for result in results] == [2, 0, 1]
    for result, weights in zip(results, ([0.25] * 6, WEIGHTS, WEIGHTS[::-1]), strict=True):
        np.testing.assert_allclose(result.surrogate.weights, weights, atol=1e-9)
        assert result.confidence == pytest.approx(expit(sum(weights)))
    # Sampling continues until the last label is separated, and this one never is.
    assert [result.claimed for result in results] == [0, 1, 1]
    assert {result.outcome for result in results} == {"budget"}
    assert samples == 1 + 7 * BLOCK
    alone, samples = find(predict, 6, labels=[0, 1], num_features=1)
    assert samples == 1 + BLOCK
    assert {result.outcome for result in alone} == {"separated"}


def test_a_count_of_labels_takes_the_most_confident_ones() -> None:
    predict = model(additive(-1.0), additive(2.0), additive(1.0))
    results, _ = find(predict, 1, labels=2)
    assert [result.label for result in results] == [1, 2]


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(ValueError, match="the model has the labels 0 to 0"):
        find(model(additive(*WEIGHTS)), 6, labels=[1])


def test_equal_seeds_give_equal_results_and_different_seeds_different_ones() -> None:
    one, same, other = (
        only(model(rough(10)), 10, seed=seed, num_features=10).surrogate for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.weights, same.weights)
    np.testing.assert_array_equal(one.intervals, same.intervals)
    assert not np.array_equal(one.weights, other.weights)


def test_the_batch_size_changes_nothing() -> None:
    one, other = (only(model(rough(8)), 8, batch_size=size).surrogate for size in (7, 100))
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-12)
