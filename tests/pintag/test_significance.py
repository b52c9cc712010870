"""Intervals and tests of figures, against values from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pintag import significance
from pintag.significance import Ints


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (1, 10), (81, 263), (205, 224), (10, 10)])
def test_wilsons_interval_is_scipys(hits: int, total: int) -> None:
    found = significance.share(hits, total)
    known = stats.binomtest(hits, total).proportion_ci(0.95, method="wilson")
    assert found.value == hits / total
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_wilsons_interval_by_hand() -> None:
    """81 of 263, after Newcombe, Statistics in Medicine 17 (1998): 0.2553 to 0.3662."""
    found = significance.share(81, 263)
    assert found.low == pytest.approx(0.2553, abs=5e-5)
    assert found.high == pytest.approx(0.3662, abs=5e-5)


def test_an_interval_reaches_an_end_only_when_all_or_none_are_right() -> None:
    assert significance.share(0, 20).low == 0
    assert significance.share(0, 20).high > 0
    assert significance.share(20, 20).high == 1
    assert significance.share(19, 20).high < 1


def test_of_nothing_anything_is_possible() -> None:
    found = significance.share(0, 0)
    assert (found.low, found.high) == (0, 1)


def test_more_images_and_less_certainty_make_an_interval_narrower() -> None:
    def width(hits: int, total: int, level: float = 0.95) -> float:
        found = significance.share(hits, total, level)
        return found.high - found.low

    assert width(90, 100) < width(9, 10)
    assert width(9, 10, level=0.8) < width(9, 10)


def test_the_bootstrap_of_a_share_is_near_its_exact_interval() -> None:
    right = np.arange(400) < 300

    def accuracy(indices: Ints) -> float:
        return float(right[indices].mean())

    found = significance.bootstrap(accuracy, len(right))
    exact = significance.share(300, 400)
    assert found.value == 0.75
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.01)


def test_the_bootstrap_gives_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(0).normal(size=50)

    def mean(indices: Ints) -> float:
        return float(values[indices].mean())

    first, again, other = (significance.bootstrap(mean, 50, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_bootstraps_interval_holds_its_value() -> None:
    """The number of different images is greatest for those that are there: beyond every sample."""
    found = significance.bootstrap(lambda indices: float(len(set(indices.tolist()))), 30)
    assert found.low < found.value == found.high == 30


def test_mcnemars_test_by_hand() -> None:
    """Six images are parted 5 to 1: (1 + 6) / 2**6, twice."""
    first = np.array([True] * 5 + [False] + [True] * 20 + [False] * 3)
    second = np.array([False] * 5 + [True] + [True] * 20 + [False] * 3)
    found = significance.mcnemar(first, second)
    assert (found.only_first, found.only_second) == (5, 1)
    assert found.p == pytest.approx(14 / 64)
    assert not found.differs


def test_mcnemars_test_sees_both_sides_alike() -> None:
    first, second = np.arange(40) < 30, np.arange(40) >= 39
    one, two = significance.mcnemar(first, second), significance.mcnemar(second, first)
    assert one.p == two.p < 0.001
    assert one.differs
    assert two.differs
    assert (one.only_first, one.only_second) == (two.only_second, two.only_first)


def test_models_that_are_right_on_the_same_images_do_not_differ() -> None:
    right = np.array([True, False, True])
    found = significance.mcnemar(right, right)
    assert (found.p, found.differs) == (1.0, False)


def test_models_of_other_images_are_not_compared() -> None:
    with pytest.raises(ValueError, match="3 images and 2"):
        significance.mcnemar(np.ones(3, bool), np.ones(2, bool))
