"""Calibration: a known temperature is recovered, and the calibration error has known values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax

from pintag.evaluation.calibration import (
    TEMPERATURE_RANGE,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]


def drawn(temperature: float, count: int = 20_000, labels: int = 5) -> tuple[Floats, Ints]:
    """Logits, and targets drawn from `softmax(logits / temperature)`."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(count, labels)) * temperature
    cumulative = softmax(logits / temperature, axis=1).cumsum(axis=1)
    return logits, (rng.random((count, 1)) > cumulative).sum(axis=1)


def two_classes(*confidences: float) -> Floats:
    """Rows of two classes: these confidences for the first, the rest for the second."""
    return np.array([[value, 1 - value] for value in confidences])


@pytest.mark.parametrize("temperature", [0.25, 0.8, 1.0, 2.5, 9.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.03)


@pytest.mark.parametrize("temperature", [0.25, 2.5])
def test_fitting_raises_the_likelihood_and_lowers_the_calibration_error(temperature: float) -> None:
    logits, targets = drawn(temperature)
    scaled = logits / fit_temperature(logits, targets)
    before, after = (negative_log_likelihood(rows, targets) for rows in (logits, scaled))
    assert after < before - 0.05
    before, after = (
        expected_calibration_error(softmax(rows, axis=1), targets) for rows in (logits, scaled)
    )
    assert after < 0.02 < 0.05 < before


def test_no_other_temperature_has_a_higher_likelihood() -> None:
    logits, targets = drawn(3.0, count=300)
    temperature = fit_temperature(logits, targets)
    best = negative_log_likelihood(logits / temperature, targets)
    others = np.geomspace(*TEMPERATURE_RANGE, 200)
    assert all(negative_log_likelihood(logits / other, targets) > best - 1e-9 for other in others)


def test_float32_logits_give_the_same_temperature() -> None:
    logits, targets = drawn(2.5, count=500)
    single = fit_temperature(logits.astype(np.float32), targets)
    assert single == pytest.approx(fit_temperature(logits, targets), rel=1e-3)


def test_without_images_the_temperature_is_one() -> None:
    assert fit_temperature(np.zeros((0, 4)), np.zeros(0, int)) == 1.0


@pytest.mark.parametrize("right", [True, False])
def test_separable_data_stays_in_the_range(right: bool) -> None:
    """If all answers are right, or all wrong, the likelihood has no maximum within the range."""
    low, high = TEMPERATURE_RANGE
    logits = np.array([[8.0, 0.0], [0.0, 8.0], [9.0, 1.0]])
    temperature = fit_temperature(logits, np.array([0, 1, 0] if right else [1, 0, 1]))
    assert low <= temperature <= high
    assert temperature < 1.0 if right else temperature > 0.9 * high


def test_constant_logits_stay_in_the_range() -> None:
    low, high = TEMPERATURE_RANGE
    assert low <= fit_temperature(np.ones((6, 3)), np.array([0, 1, 2, 0, 1, 2])) <= high


def test_the_top_class_never_changes() -> None:
    rng = np.random.default_rng(1)
    for scale in (0.01, 1.0, 100.0):
        logits = rng.normal(scale=scale, size=(500, 8)).astype(np.float32)
        temperature = fit_temperature(logits, rng.integers(0, 8, 500))
        assert temperature > 0
        assert ((logits / temperature).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_negative_log_likelihood_worked_out_by_hand() -> None:
    logits = np.log([[0.5, 0.5], [0.2, 0.8]])
    assert negative_log_likelihood(logits, np.array([0, 1])) == pytest.approx(
        -(np.log(0.5) + np.log(0.8)) / 2
    )


def test_negative_log_likelihood_of_huge_logits_is_finite() -> None:
    assert negative_log_likelihood(np.array([[1e4, 0.0]]), np.array([1])) == pytest.approx(1e4)


def test_calibration_error_worked_out_by_hand() -> None:
    # Two bins of width 1/2, and all images in the upper one: |(1 - .9) + (0 - .7) + (1 - .8)| / 3.
    confidences, targets = two_classes(0.9, 0.7, 0.8), np.array([0, 1, 0])
    assert expected_calibration_error(confidences, targets, bins=2) == pytest.approx(0.4 / 3)
    # Ten bins: each image has its own bin, so the gaps do not cancel.
    assert expected_calibration_error(confidences, targets, bins=10) == pytest.approx(1.0 / 3)


@pytest.mark.parametrize("bins", [2, 5, 10, 15, 20])
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(bins: int) -> None:
    for edge in range(bins // 2 + 1, bins):
        # A right answer on the edge and a wrong one beside it: they cancel in the same bin only.
        confidences = [two_classes(edge / bins, edge / bins + side) for side in (-0.01, 0.01)]
        below, above = (
            expected_calibration_error(rows, np.array([0, 1]), bins) for rows in confidences
        )
        assert below == pytest.approx(abs(1 - 2 * edge / bins + 0.01) / 2)
        assert above == pytest.approx(1.01 / 2)


def test_certainty_belongs_to_the_last_bin() -> None:
    assert expected_calibration_error(two_classes(1.0, 1.0), np.array([0, 1])) == pytest.approx(0.5)
    assert expected_calibration_error(two_classes(1.0, 1.0), np.array([0, 0])) == 0.0


def test_perfect_calibration_has_no_error() -> None:
    # Four answers have 75 %, and three of them are right.
    confidences, targets = two_classes(0.75, 0.75, 0.75, 0.75), np.array([0, 0, 1, 0])
    assert expected_calibration_error(confidences, targets) == pytest.approx(0)
    logits, drawn_targets = drawn(1.0)
    assert expected_calibration_error(softmax(logits, axis=1), drawn_targets) < 0.015


def test_single_precision_gives_the_same_error() -> None:
    logits, targets = drawn(2.0, count=2000)
    confidences = softmax(logits, axis=1)
    single = expected_calibration_error(confidences.astype(np.float32), targets)
    assert single == pytest.approx(expected_calibration_error(confidences, targets), abs=1e-4)
