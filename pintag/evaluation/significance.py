"""Confidence intervals, and a test of whether two models differ on the same images.

Shares have Wilson intervals ("Probable inference", JASA 22, 1927). Other scores have percentile
bootstrap intervals (Efron, 1979). Two models are compared by McNemar's exact test (Psychometrika
12, 1947).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Bools = npt.NDArray[np.bool_]
Selection = npt.NDArray[np.intp]

LEVEL = 0.95
"""The level of every confidence interval in a report."""
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the two ends of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same images."""

    only_first: int
    """Images that only the first model classifies correctly."""
    only_second: int
    """Images that only the second model classifies correctly."""
    p: float
    """The probability of at least this difference between two equally good models, 0 to 1."""

    @property
    def differs(self) -> bool:
        """Whether the difference is significant: p < 0.05."""
        return self.p < 1 - LEVEL


def share(hits: int, total: int, level: float = LEVEL) -> Estimate:
    """`hits / total` with its Wilson interval; 0 with the interval 0 to 1 if `total` is 0."""
    if total == 0:
        return Estimate(0.0, 0.0, 1.0)
    interval = stats.binomtest(hits, total).proportion_ci(level, method="wilson")
    return Estimate(hits / total, float(interval.low), float(interval.high))


def bootstrap(
    statistic: Callable[[Selection], float], count: int, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """A statistic of `count` images with its percentile bootstrap interval.

    Args:
        statistic: computes the value for the images at these indices, `int[count]`. An index may
            occur several times.
        seed: the seed of the random generator. Equal seeds give equal intervals.

    Returns:
        The statistic of all images. Its interval always contains the value, which the percentiles
        alone do not guarantee.
    """
    value = statistic(np.arange(count))
    if count < 2:  # SciPy needs two observations; all resamples of one image are equal.
        return Estimate(value, value, value)
    interval = stats.bootstrap(
        (np.arange(count),),
        statistic,
        n_resamples=_RESAMPLES,
        vectorized=False,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(min(interval.low, value)), float(max(interval.high, value)))


def mcnemar(first: Bools, second: Bools) -> Comparison:
    """Compare two models on the same images.

    Args:
        first: `bool[N]`, whether the first model classifies each image correctly.
        second: the same for the second model.

    Raises:
        ValueError: the two arrays differ in length.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"the models have {len(first)} and {len(second)} results; compare the same images"
        )
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    discordant = only_first + only_second
    p = float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return Comparison(only_first, only_second, p)
