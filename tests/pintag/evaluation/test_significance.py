"""Confidence intervals and significance tests, against values from other sources."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pintag.evaluation import significance
from pintag.evaluation.significance import Selection


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (1, 10), (81, 263), (205, 224), (10, 10)])
def test_a_wilson_interval_has_the_ends_of_its_formula(hits: int, total: int) -> None:
    """Wilson (1927), with z of the normal distribution."""
    estimate = significance.share(hits, total)
    p, z = hits / total, stats.norm.ppf(0.975)
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    margin = z / (1 + z**2 / total) * np.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    assert estimate.value == p
    assert (estimate.low, estimate.high) == pytest.approx(
        (centre - margin, centre + margin), abs=1e-12
    )


def test_a_wilson_interval_of_the_literature() -> None:
    """81 of 263, from Newcombe, Statistics in Medicine 17 (1998): 0.2553 to 0.3662."""
    estimate = significance.share(81, 263)
    assert estimate.low == pytest.approx(0.2553, abs=5e-5)
    assert estimate.high == pytest.approx(0.3662, abs=5e-5)


def test_an_interval_reaches_0_or_1_only_when_no_or_all_images_are_right() -> None:
    assert significance.share(0, 20).low == 0
    assert significance.share(0, 20).high > 0
    assert significance.share(20, 20).high == 1
    assert significance.share(19, 20).high < 1


def test_a_share_of_no_images_has_the_widest_interval() -> None:
    estimate = significance.share(0, 0)
    assert (estimate.low, estimate.high) == (0, 1)


def test_more_images_and_a_lower_level_make_an_interval_narrower() -> None:
    def width(hits: int, total: int, level: float = 0.95) -> float:
        estimate = significance.share(hits, total, level)
        return estimate.high - estimate.low

    assert width(90, 100) < width(9, 10)
    assert width(9, 10, level=0.8) < width(9, 10)


def test_the_bootstrap_of_a_share_is_near_its_wilson_interval() -> None:
    right = np.arange(400) < 300

    def accuracy(indices: Selection) -> float:
        return float(right[indices].mean())

    estimate = significance.bootstrap(accuracy, len(right))
    exact = significance.share(300, 400)
    assert estimate.value == 0.75
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high), abs=0.01)


def test_the_bootstrap_depends_only_on_its_seed() -> None:
    values = np.random.default_rng(0).normal(size=50)

    def mean(indices: Selection) -> float:
        return float(values[indices].mean())

    first, again, other = (significance.bootstrap(mean, 50, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("seed", "low", "high"),
    [
        (0, -0.13198117462654882, 0.3730869132678114),
        (1, -0.11375531963190304, 0.38042683503430164),
    ],
)
def test_bootstrap_intervals_are_those_of_earlier_versions(
    seed: int, low: float, high: float
) -> None:
    """Figures of studies by pintag 0.1 stay comparable: the resamples are the same."""
    values = np.random.default_rng(0).normal(size=50)
    estimate = significance.bootstrap(lambda indices: float(values[indices].mean()), 50, seed)
    assert estimate.value == pytest.approx(0.12899647089633556)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))


def test_a_bootstrap_of_one_image_has_no_width() -> None:
    estimate = significance.bootstrap(lambda indices: 0.5, 1)
    assert (estimate.low, estimate.value, estimate.high) == (0.5, 0.5, 0.5)


def test_a_bootstrap_interval_contains_its_value() -> None:
    """Every resample has fewer different images than the data: the value is above all of them."""
    estimate = significance.bootstrap(lambda indices: float(len(set(indices.tolist()))), 30)
    assert estimate.low < estimate.value == estimate.high == 30


def test_mcnemars_test_of_six_discordant_images() -> None:
    """One model is right on 5 of them, the other on 1: p is twice (1 + 6) / 2**6."""
    first = np.array([True] * 5 + [False] + [True] * 20 + [False] * 3)
    second = np.array([False] * 5 + [True] + [True] * 20 + [False] * 3)
    comparison = significance.mcnemar(first, second)
    assert (comparison.only_first, comparison.only_second) == (5, 1)
    assert comparison.p == pytest.approx(14 / 64)
    assert not comparison.differs


def test_mcnemars_test_is_symmetric() -> None:
    first, second = np.arange(40) < 30, np.arange(40) >= 39
    one, two = significance.mcnemar(first, second), significance.mcnemar(second, first)
    assert one.p == two.p < 0.001
    assert one.differs
    assert two.differs
    assert (one.only_first, one.only_second) == (two.only_second, two.only_first)


def test_models_that_are_right_on_the_same_images_do_not_differ() -> None:
    right = np.array([True, False, True])
    comparison = significance.mcnemar(right, right)
    assert (comparison.p, comparison.differs) == (1.0, False)


def test_models_are_compared_on_the_same_images_only() -> None:
    with pytest.raises(ValueError, match="have 3 and 2 results"):
        significance.mcnemar(np.ones(3, bool), np.ones(2, bool))
