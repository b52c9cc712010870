"""The regression of the stable mode: log-odds, least squares, standard errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from pintag.explain.stable import Regression, log_odds
from tests.pintag.conftest import (
    Floats,
    model,
)
from tests.pintag.explain.stable_helpers import (
    SUREST,
    WEIGHTS,
    intervals,
    only,
)


def test_log_odds_of_confidences() -> None:
    np.testing.assert_allclose(log_odds(np.array([0.5, 0.75, 0.1])), np.log([1, 3, 1 / 9]))


def test_certainty_has_finite_log_odds() -> None:
    """Confidences closer than 0.003 to zero or one are clipped."""
    ends = log_odds(np.array([0, 1e-30, 0.001, 1], np.float32))
    assert ends.dtype == np.float64
    np.testing.assert_allclose(ends, np.array([-1, -1, -1, 1]) * SUREST)


def test_a_regression_is_ordinary_least_squares() -> None:
    """Weights, standard errors and R² of unbalanced random masks match textbook formulas."""
    rng = np.random.default_rng(0)
    masks = rng.random((90, 40)) < 0.6
    responses = masks @ rng.normal(size=40) + rng.normal(size=90)
    regression = Regression(40, 1, 90)
    for part in np.array_split(np.arange(90), 4):
        regression.add(masks[part], responses[part, np.newaxis])
    (estimate,) = regression.estimate(0.9)

    design = np.hstack([np.ones((90, 1)), masks])
    solution, squares, *_ = np.linalg.lstsq(design, responses)
    errors = np.sqrt(squares[0] / 49 * np.diag(np.linalg.inv(design.T @ design)))
    assert estimate.freedom == 49
    np.testing.assert_allclose(estimate.surrogate.weights, solution[1:], atol=1e-9)
    np.testing.assert_allclose(estimate.errors, errors[1:], rtol=1e-6)
    assert estimate.surrogate.intercept == pytest.approx(solution[0])
    assert estimate.surrogate.score == pytest.approx(1 - squares[0] / (90 * responses.var()))
    margins = stats.t.ppf(0.95, 49) * errors[1:]
    expected = np.stack([solution[1:] - margins, solution[1:] + margins], axis=-1)
    assert estimate.surrogate.intervals is not None
    np.testing.assert_allclose(estimate.surrogate.intervals, expected, rtol=1e-6)


def test_interactions_of_pairs_are_not_noise_if_samples_suffice() -> None:
    """Six segments have 15 pairs: 64 samples suffice to estimate 22 columns."""

    def pairs_only(masks: Any) -> Floats:
        signs = 2.0 * masks - 1
        return signs @ np.array(WEIGHTS) / 4 + 1.5 * signs[:, 0] * signs[:, 1]

    few = only(model(pairs_only), 6, budget=40, num_features=6)
    many = only(model(pairs_only), 6, budget=66, num_features=6)
    assert np.ptp(intervals(few), axis=1).min() > 1
    assert np.ptp(intervals(many), axis=1).max() < 1e-4
