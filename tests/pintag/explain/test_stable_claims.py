"""The claims of the stable mode: which segments rank above the rest."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pintag.explain.stable import Goal
from tests.pintag.conftest import (
    additive,
    model,
)
from tests.pintag.explain.stable_helpers import (
    claimed,
    estimate,
    find,
    only,
    rough,
)


def test_segments_are_claimed_if_they_are_separated_from_all_that_follow() -> None:
    weights = estimate([3.0, -2.0, 1.0], 1e-9)
    assert [claimed(weights, count) for count in (1, 2, 3)] == [1, 2, 3]


def test_the_order_among_claimed_segments_may_be_uncertain() -> None:
    """The first two are nearly equal, and far above the third."""
    weights = estimate([2.00, 0.3, 1.99, 0.29], 0.05)
    assert claimed(weights, 1) == 0
    assert claimed(weights, 2) == 2
    assert claimed(weights, 3) == 2


def test_the_last_segment_is_separated_from_zero() -> None:
    assert claimed(estimate([2.0, 0.2], 0.05), 2) == 2
    assert claimed(estimate([2.0, 0.02], 0.05), 2) == 1


def test_no_more_segments_are_claimed_than_exist() -> None:
    assert claimed(estimate([3.0, 2.0, 1.0], 1e-9), 10) == 3


def test_evidence_against_a_label_is_not_claimed_as_evidence_for_it() -> None:
    weights = estimate([2.0, -3.0, -1.0], 1e-9)
    assert claimed(weights, 3) == 3
    assert claimed(weights, 3, positive_only=True) == 1
    assert claimed(estimate([-1.0, -2.0], 1e-9), 1, positive_only=True) == 0


def test_nothing_is_claimed_without_information() -> None:
    assert claimed(estimate([3.0, 2.0, 1.0], np.inf, freedom=0), 3) == 0
    assert claimed(estimate([0.0, 0.0], 0.0), 2) == 0


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("looks", [1, 7])
@pytest.mark.parametrize("level", [0.8, 0.99])
def test_the_required_gap_is_that_of_a_one_sided_t_test(
    count: int, looks: int, level: float
) -> None:
    """The level holds for all gaps and looks together, so more of either need wider gaps."""
    # Two weights of these errors have the difference's error 0.5.
    errors = [0.3, 0.4, 9, 9, 9]
    needed = 0.5 * stats.t.ppf(1 - (1 - level) / count / looks, 7)
    for gap, expected in ((0.999 * needed, 0), (1.001 * needed, 1)):
        weights = estimate([5 + gap, 5, 5, 5, 5], errors, freedom=7)
        assert weights.claimed(Goal(count, level, positive_only=False), looks) == expected


def test_a_larger_budget_claims_less_at_each_look() -> None:
    """With the same samples: more looks mean more chances of a false claim."""
    counts = []
    for budget in (66, 100_000):
        results, samples = find(
            model(rough(10)),
            10,
            num_features=10,
            budget=budget,
            batch_size=65,
            stop=lambda: True,
        )
        assert samples == 65
        counts.append(results[0].claimed or 0)
    assert counts[0] > counts[1]


def test_an_explanation_claims_the_separated_segments() -> None:
    """Segments one and two have large weights, and the others are nearly equal."""
    result = only(model(additive(0.01, -2.0, 1.5, 0.01, 0.0, 0.01)), 6, num_features=2)
    assert (result.outcome, result.claimed) == ("separated", 2)
    result = only(model(additive(2.0, 2.0, -2.0, 0.0)), 4, num_features=2)
    assert (result.outcome, result.claimed) == ("budget", 0)
    result = only(model(additive(2.0, 2.0, -2.0, 0.0)), 4, num_features=2, positive_only=True)
    assert (result.outcome, result.claimed) == ("separated", 2)
