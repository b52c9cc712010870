"""How far a figure of a test set is to be trusted, and whether two models really differ.

Wilson, "Probable inference", JASA 22 (1927), for shares; the percentile bootstrap of Efron (1979)
for what is no share; McNemar, Psychometrika 12 (1947), exact, for two models on the same images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import stats

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]

LEVEL = 0.95
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same images."""

    only_first: int
    """Images that the first alone has right."""
    only_second: int
    p: float
    """The probability of a difference as large as this between equals."""

    @property
    def differs(self) -> bool:
        """Whether the test set can tell the two apart."""
        return self.p < 1 - LEVEL


def share(hits: int, total: int, level: float = LEVEL) -> Estimate:
    """`hits / total` with Wilson's interval; of nothing, anything is possible."""
    if total == 0:
        return Estimate(0.0, 0.0, 1.0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    p, n = hits / total, total
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    margin = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # Rounding must not leave an end that the interval reaches exactly.
    low = 0.0 if hits == 0 else float(centre - margin)
    high = 1.0 if hits == total else float(centre + margin)
    return Estimate(p, low, high)


def bootstrap(
    statistic: Callable[[Ints], float], count: int, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """A statistic of `count` images, with the interval of what resampled images give.

    Args:
        statistic: of the images at these indices, some of them several times.
    """
    generator = np.random.default_rng(seed)
    resampled = [
        statistic(generator.integers(0, count, count).astype(np.intp)) for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    value = statistic(np.arange(count))
    return Estimate(value, float(min(low, value)), float(max(high, value)))


def mcnemar(first: Bools, second: Bools) -> Comparison:
    """Compare which of the same images two models have right: `bool[N]` each.

    Raises:
        ValueError: they are not of the same images.
    """
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} images and {len(second)}: not the same ones")
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    parted = only_first + only_second
    p = float(stats.binomtest(only_first, parted).pvalue) if parted else 1.0
    return Comparison(only_first, only_second, p)
