"""The stable mode: it finds what is there, knows how sure it is, and claims no more than that."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from pintag import stable
from pintag.designs import BLOCK, MOST_SEGMENTS
from pintag.errors import ExplainError
from pintag.perturbation import Array, Perturber
from pintag.sampling import Predict, Sampler, Stop
from pintag.stable import Estimate, Goal, Regression, log_odds
from pintag.surrogate import Finding, Surrogate, rank
from tests.pintag.conftest import (
    Floats,
    LogOdds,
    additive,
    every_mask,
    main_effects,
    model,
    row,
    shown,
    table,
)

WEIGHTS = (0.3, -2.0, 1.4, 0.0, 0.8, -0.6)


def find(
    predict: Predict,
    segments: int,
    *,
    labels: list[int] | int = 1,
    seed: int = 0,
    budget: int = 500,
    num_features: int = 3,
    level: float = 0.95,
    positive_only: bool = False,
    batch_size: int = 64,
    stop: Stop | None = None,
) -> tuple[list[Finding], int]:
    """Findings about a `row`, and the samples they took."""
    image, numbers = row(segments)
    perturber = Perturber(image, np.zeros_like(image), numbers, batch_size)
    sampler = Sampler(perturber, predict, batch_size, stop, labels)
    goal = Goal(num_features, level, positive_only)
    random = np.random.default_rng(seed)
    findings = stable.find(sampler, random, budget=budget, goal=goal)
    return findings, sampler.count


def only(predict: Predict, segments: int, **options: Any) -> Finding:
    (finding,), _ = find(predict, segments, **options)
    return finding


def intervals(finding: Finding) -> Floats:
    found = finding.surrogate.intervals
    assert found is not None
    assert found.shape == (len(finding.surrogate.weights), 2)
    return found


def rough(segments: int, seed: int = 0, noise: float = 0.7) -> LogOdds:
    """Segments that do something alone, by twos, and in every larger company."""
    rng = np.random.default_rng(seed)
    masks = every_mask(segments).astype(float)
    pairs = np.triu(rng.normal(scale=2 / segments, size=(segments, segments)), 1)
    alone = masks @ rng.normal(size=segments)
    together = np.einsum("sk,kl,sl->s", masks, pairs, masks)
    return table(alone + together + rng.normal(scale=noise, size=2**segments))


def estimate(weights: Any, errors: Any, freedom: int = 100) -> Estimate:
    surrogate = Surrogate(np.array(weights, float), 0.0, 1.0, 0.5, "log-odds")
    return Estimate(surrogate, np.broadcast_to(errors, len(weights)).astype(float), freedom)


def claimed(made: Estimate, count: int, level: float = 0.95, positive_only: bool = False) -> int:
    return made.claimed(Goal(count, level, positive_only))


# Log-odds.


# The log-odds that certainty is given.
SUREST = np.log(0.997 / 0.003)


def test_log_odds_are_those_of_the_confidence() -> None:
    np.testing.assert_allclose(log_odds(np.array([0.5, 0.75, 0.1])), np.log([1, 3, 1 / 9]))


def test_certainty_has_finite_log_odds() -> None:
    """What is nearer to zero and one than 0.003 is taken for that."""
    ends = log_odds(np.array([0, 1e-30, 0.001, 1], np.float32))
    assert ends.dtype == np.float64
    np.testing.assert_allclose(ends, np.array([-1, -1, -1, 1]) * SUREST)


# What is found.


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [40, 66, 500])
def test_weights_that_add_up_are_recovered_exactly(seed: int, budget: int) -> None:
    finding = only(model(additive(*WEIGHTS, start=-0.4)), 6, seed=seed, budget=budget)
    surrogate = finding.surrogate
    np.testing.assert_allclose(surrogate.weights, WEIGHTS, atol=1e-9)
    assert surrogate.intercept == pytest.approx(-0.4, abs=1e-9)
    assert surrogate.score == pytest.approx(1)
    assert surrogate.scale == "log-odds"
    assert surrogate.prediction == pytest.approx(expit(sum(WEIGHTS) - 0.4))
    assert finding.confidence == pytest.approx(surrogate.prediction)
    np.testing.assert_allclose(intervals(finding), np.array([WEIGHTS, WEIGHTS]).T, atol=1e-5)


@pytest.mark.parametrize("segments", [33, 60])
def test_weights_of_many_segments_are_recovered_exactly(segments: int) -> None:
    """And before that nothing is claimed: a round cannot tell more than 32 segments apart."""
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


def test_what_two_segments_do_together_does_not_leak_into_others() -> None:
    """Half of it belongs to each of the two, whatever the seed."""

    def both(masks: Any) -> Floats:
        return masks @ np.array(WEIGHTS) + 2.0 * (masks[:, 0] & masks[:, 3])

    for seed in range(5):
        weights = only(model(both), 6, seed=seed, budget=66).surrogate.weights
        np.testing.assert_allclose(weights - WEIGHTS, [1, 0, 0, 1, 0, 0], atol=1e-9)


def test_weights_are_main_effects_where_every_set_is_seen() -> None:
    """Of six segments a round has all 64 sets, and then nothing is left to chance."""
    for_label = rough(6)
    for seed in range(3):
        found = only(model(for_label), 6, seed=seed, budget=66).surrogate.weights
        np.testing.assert_allclose(found, main_effects(for_label, 6), atol=1e-9)


@pytest.mark.parametrize("segments", [8, 10, 12])
@pytest.mark.parametrize("level", [0.6, 0.95])
def test_intervals_hold_the_main_effects_as_often_as_they_say(segments: int, level: float) -> None:
    """They may be too wide, since a design balances more than its errors count on."""
    for_label = rough(segments)
    truth = main_effects(for_label, segments)
    held, widths = [], []
    for seed in range(25):
        finding = only(
            model(for_label), segments, seed=seed, budget=321, num_features=segments, level=level
        )
        low, high = intervals(finding).T
        held.append((low <= truth) & (truth <= high))
        widths.append(high - low)
    assert np.mean(held) >= level - 0.03
    # They say something all the same: most of what there is to find is wider.
    assert np.mean(widths) < 0.35 * np.ptp(truth)


def test_a_level_makes_intervals_wider() -> None:
    widths = [
        np.ptp(intervals(only(model(rough(10)), 10, budget=257, num_features=10, level=level)))
        for level in (0.5, 0.9, 0.99)
    ]
    assert widths[0] < widths[1] < widths[2]


def test_what_is_claimed_is_true_as_often_as_it_says() -> None:
    """Over models and seeds, of the sets of segments that are told apart from the rest."""
    right = []
    for number in range(12):
        for_label = rough(9, seed=number, noise=0.6)
        order = rank(main_effects(for_label, 9), positive_only=False)
        for seed in range(5):
            finding = only(model(for_label), 9, seed=seed)
            count = finding.claimed
            assert count is not None
            found = rank(finding.surrogate.weights, positive_only=False)
            if count:
                right.append(set(found[:count]) == set(order[:count]))
    assert len(right) > 40
    assert np.mean(right) > 0.95


# What is claimed.


def test_segments_are_claimed_when_they_are_told_apart_from_all_that_follow() -> None:
    made = estimate([3.0, -2.0, 1.0], 1e-9)
    assert [claimed(made, count) for count in (1, 2, 3)] == [1, 2, 3]


def test_the_order_of_what_is_claimed_need_not_be_known() -> None:
    """The first two are level with each other, and well above the third."""
    made = estimate([2.00, 0.3, 1.99, 0.29], 0.05)
    assert claimed(made, 1) == 0
    assert claimed(made, 2) == 2
    assert claimed(made, 3) == 2


def test_the_last_segment_is_told_apart_from_zero() -> None:
    assert claimed(estimate([2.0, 0.2], 0.05), 2) == 2
    assert claimed(estimate([2.0, 0.02], 0.05), 2) == 1


def test_more_than_there_are_cannot_be_claimed() -> None:
    assert claimed(estimate([3.0, 2.0, 1.0], 1e-9), 10) == 3


def test_what_speaks_against_a_label_is_not_claimed_for_it() -> None:
    made = estimate([2.0, -3.0, -1.0], 1e-9)
    assert claimed(made, 3) == 3
    assert claimed(made, 3, positive_only=True) == 1
    assert claimed(estimate([-1.0, -2.0], 1e-9), 1, positive_only=True) == 0


def test_nothing_is_claimed_while_nothing_is_known() -> None:
    assert claimed(estimate([3.0, 2.0, 1.0], np.inf, freedom=0), 3) == 0
    assert claimed(estimate([0.0, 0.0], 0.0), 2) == 0


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("looks", [1, 7])
@pytest.mark.parametrize("level", [0.8, 0.99])
def test_the_gap_that_is_needed_is_that_of_a_one_sided_t_test(
    count: int, looks: int, level: float
) -> None:
    """At the level for all gaps and looks together: more of either need wider gaps."""
    # Two weights of these errors have the difference's error 0.5.
    errors = [0.3, 0.4, 9, 9, 9]
    needed = 0.5 * stats.t.ppf(1 - (1 - level) / count / looks, 7)
    for gap, expected in ((0.999 * needed, 0), (1.001 * needed, 1)):
        made = estimate([5 + gap, 5, 5, 5, 5], errors, freedom=7)
        assert made.claimed(Goal(count, level, positive_only=False), looks) == expected


def test_a_larger_budget_claims_less_at_each_look() -> None:
    """After the same samples: whoever looks more often is more easily mistaken."""
    counts = []
    for budget in (66, 100_000):
        findings, samples = find(
            model(rough(10)),
            10,
            num_features=10,
            budget=budget,
            batch_size=65,
            stop=lambda: True,
        )
        assert samples == 65
        counts.append(findings[0].claimed or 0)
    assert counts[0] > counts[1]


def test_a_finding_claims_what_separates() -> None:
    """Segments one and two speak out, the others are as good as level."""
    finding = only(model(additive(0.01, -2.0, 1.5, 0.01, 0.0, 0.01)), 6, num_features=2)
    assert (finding.outcome, finding.claimed) == ("separated", 2)
    finding = only(model(additive(2.0, 2.0, -2.0, 0.0)), 4, num_features=2)
    assert (finding.outcome, finding.claimed) == ("budget", 0)
    finding = only(model(additive(2.0, 2.0, -2.0, 0.0)), 4, num_features=2, positive_only=True)
    assert (finding.outcome, finding.claimed) == ("separated", 2)


# When it ends.


def test_it_ends_as_soon_as_the_segments_asked_for_are_told_apart() -> None:
    predict = model(rough(12, noise=0.4))
    taken = [find(predict, 12, num_features=1, level=level)[1] for level in (0.5, 0.9, 0.999999)]
    assert taken[0] <= taken[1] <= taken[2]
    assert taken[0] == 1 + BLOCK
    assert taken[2] > taken[0]
    clear, samples = find(model(additive(*WEIGHTS)), 6)
    assert samples == 1 + BLOCK
    assert clear[0].outcome == "separated"


def test_with_nothing_to_tell_apart_the_budget_is_used() -> None:
    findings, samples = find(model(table(np.zeros(64))), 6)
    assert samples == 1 + 7 * BLOCK
    assert (findings[0].outcome, findings[0].claimed) == ("budget", 0)
    np.testing.assert_array_equal(findings[0].surrogate.weights, np.zeros(6))


@pytest.mark.parametrize("budget", [2, 3, 33, 64, 65, 66, 128, 129, 200, 500, 513])
@pytest.mark.parametrize("segments", [1, 7, 40])
def test_never_are_more_images_predicted_than_the_budget(budget: int, segments: int) -> None:
    images = []

    def predict(batch: Array) -> Any:
        images.append(len(batch))
        # As good as noise, and alike each time.
        return expit(np.sin(1e4 * shown(batch) @ np.arange(1.0, segments + 1)))[:, np.newaxis]

    findings, samples = find(predict, segments, budget=budget, num_features=1, level=0.9999)
    assert sum(images) == samples <= budget
    # Rounds are never cut but the first, and as many as possible are used.
    if findings[0].outcome == "budget":
        assert samples == (budget if budget <= BLOCK else budget - (budget - 1) % BLOCK)
    assert np.isfinite(findings[0].surrogate.weights).all()


@pytest.mark.parametrize("segments", [10, 33, 60])
@pytest.mark.parametrize("budget", [2, 5, 10])
def test_too_few_samples_say_so(segments: int, budget: int) -> None:
    """No interval is finite, nothing is claimed, and no weight is larger than the log-odds are."""
    weights = np.random.default_rng(1).normal(size=segments) * 4 / segments**0.5
    predict = model(additive(*weights, start=-weights.sum() / 2))
    for seed in range(10):
        finding = only(predict, segments, budget=budget, seed=seed)
        low, high = intervals(finding).T
        assert (low == -np.inf).all()
        assert (high == np.inf).all()
        assert (finding.outcome, finding.claimed) == ("budget", 0)
        assert np.abs(finding.surrogate.weights).max() < np.abs(weights).sum()
        assert 0 <= finding.surrogate.prediction <= 1


@pytest.mark.parametrize("batch_size", [1, 8, 64, 100])
def test_a_stop_ends_it_with_what_is_known(batch_size: int) -> None:
    findings, samples = find(
        model(table(np.zeros(2**6))), 6, batch_size=batch_size, stop=lambda: True
    )
    assert samples == max(2, min(batch_size, 1 + BLOCK))
    assert (findings[0].outcome, findings[0].claimed) == ("deadline", 0)


@pytest.mark.parametrize("calls", range(6))
def test_a_stop_may_come_within_a_round_or_between_two(calls: int) -> None:
    """What it has by then is told: here main effects that no set of the others hides."""
    counter = itertools.count(1)
    finding = only(
        model(additive(2.0, 2.0, -2.0, 1.0)),
        4,
        batch_size=32,
        num_features=1,
        stop=lambda: next(counter) > calls,
    )
    assert finding.outcome == "deadline"
    np.testing.assert_allclose(finding.surrogate.weights, [2, 2, -2, 1], atol=1e-9)


def test_who_is_stopped_but_has_separated_has_separated() -> None:
    findings, samples = find(model(additive(*WEIGHTS)), 6, batch_size=33, stop=lambda: True)
    assert samples == 33
    assert (findings[0].outcome, findings[0].claimed) == ("separated", 3)


# At the edges.


def test_one_segment_is_all_there_is_to_tell() -> None:
    finding = only(model(additive(3.0, start=-1.0)), 1, num_features=5)
    np.testing.assert_allclose(finding.surrogate.weights, [3.0], atol=1e-9)
    assert (finding.outcome, finding.claimed) == ("separated", 1)


def test_certainty_of_nought_and_one_stays_finite() -> None:
    """A model that is sure whatever it sees, and one that is sure of either."""
    step = model(lambda masks: np.where(masks[:, 2], np.inf, -np.inf))
    finding = only(step, 6, num_features=1)
    np.testing.assert_allclose(finding.surrogate.weights, [0, 0, 2 * SUREST, 0, 0, 0], atol=1e-6)
    assert (finding.confidence, finding.claimed) == (1.0, 1)
    for sure in (np.inf, -np.inf):
        finding = only(model(table(np.full(64, sure))), 6)
        np.testing.assert_array_equal(finding.surrogate.weights, np.zeros(6))
        assert np.isfinite(intervals(finding)).all()
        assert finding.claimed == 0
        assert finding.surrogate.score == 1.0


def test_as_many_segments_as_a_design_has_are_explained() -> None:
    """A round shares the weight out among those that were hidden together with the one."""
    weights = np.zeros(MOST_SEGMENTS)
    weights[77] = 4.0
    finding = only(model(additive(*weights)), MOST_SEGMENTS, budget=BLOCK + 1)
    assert finding.surrogate.weights[77] == pytest.approx(4 / 8)
    assert finding.surrogate.weights[77] == pytest.approx(finding.surrogate.weights.max())
    assert (finding.outcome, finding.claimed) == ("budget", 0)


def test_too_many_superpixels_are_refused_before_any_is_hidden() -> None:
    def predict(images: Array) -> Any:
        raise AssertionError("nothing was to be predicted")

    with pytest.raises(ExplainError, match=r"257 superpixels; .* at most 256 .*coarser"):
        find(predict, MOST_SEGMENTS + 1)


def test_labels_asked_for_together_get_each_its_own_finding() -> None:
    predict = model(additive(*WEIGHTS), additive(*WEIGHTS[::-1]), additive(*(6 * [0.25])))
    findings, samples = find(predict, 6, labels=[2, 0, 1], num_features=1)
    assert [finding.label for finding in findings] == [2, 0, 1]
    for finding, weights in zip(findings, ([0.25] * 6, WEIGHTS, WEIGHTS[::-1]), strict=True):
        np.testing.assert_allclose(finding.surrogate.weights, weights, atol=1e-9)
        assert finding.confidence == pytest.approx(expit(sum(weights)))
    # It goes on until the last of them is separated, and this one never is.
    assert [finding.claimed for finding in findings] == [0, 1, 1]
    assert {finding.outcome for finding in findings} == {"budget"}
    assert samples == 1 + 7 * BLOCK
    alone, samples = find(predict, 6, labels=[0, 1], num_features=1)
    assert samples == 1 + BLOCK
    assert {finding.outcome for finding in alone} == {"separated"}


def test_a_count_of_labels_takes_the_most_confident_ones() -> None:
    predict = model(additive(-1.0), additive(2.0), additive(1.0))
    findings, _ = find(predict, 1, labels=2)
    assert [finding.label for finding in findings] == [1, 2]


def test_a_label_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="there are 0 to 0"):
        find(model(additive(*WEIGHTS)), 6, labels=[1])


def test_equal_seeds_give_equal_findings_and_others_others() -> None:
    one, same, other = (
        only(model(rough(10)), 10, seed=seed, num_features=10).surrogate for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.weights, same.weights)
    np.testing.assert_array_equal(one.intervals, same.intervals)
    assert not np.array_equal(one.weights, other.weights)


def test_the_batch_size_changes_nothing() -> None:
    one, other = (only(model(rough(8)), 8, batch_size=size).surrogate for size in (7, 100))
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-12)


# The regression.


def test_a_regression_is_ordinary_least_squares() -> None:
    """Weights, standard errors and R² by the book, of masks that no design has balanced."""
    rng = np.random.default_rng(0)
    masks = rng.random((90, 40)) < 0.6
    responses = masks @ rng.normal(size=40) + rng.normal(size=90)
    regression = Regression(40, 1, 90)
    for part in np.array_split(np.arange(90), 4):
        regression.add(masks[part], responses[part, np.newaxis])
    (found,) = regression.estimate(0.9)

    design = np.hstack([np.ones((90, 1)), masks])
    solution, squares, *_ = np.linalg.lstsq(design, responses)
    errors = np.sqrt(squares[0] / 49 * np.diag(np.linalg.inv(design.T @ design)))
    assert found.freedom == 49
    np.testing.assert_allclose(found.surrogate.weights, solution[1:], atol=1e-9)
    np.testing.assert_allclose(found.errors, errors[1:], rtol=1e-6)
    assert found.surrogate.intercept == pytest.approx(solution[0])
    assert found.surrogate.score == pytest.approx(1 - squares[0] / (90 * responses.var()))
    margins = stats.t.ppf(0.95, 49) * errors[1:]
    expected = np.stack([solution[1:] - margins, solution[1:] + margins], axis=-1)
    assert found.surrogate.intervals is not None
    np.testing.assert_allclose(found.surrogate.intervals, expected, rtol=1e-6)


def test_what_pairs_do_is_no_noise_once_there_are_samples_for_them() -> None:
    """Of six segments there are 15 pairs: with 22 columns and 64 samples they are known."""

    def pairs_only(masks: Any) -> Floats:
        signs = 2.0 * masks - 1
        return signs @ np.array(WEIGHTS) / 4 + 1.5 * signs[:, 0] * signs[:, 1]

    few = only(model(pairs_only), 6, budget=40, num_features=6)
    many = only(model(pairs_only), 6, budget=66, num_features=6)
    assert np.ptp(intervals(few), axis=1).min() > 1
    assert np.ptp(intervals(many), axis=1).max() < 1e-4
