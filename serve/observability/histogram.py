"""A histogram that is counted in the same process that observes the values."""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Cumulative counts of values up to each bound, as in Prometheus; safe from any thread."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Create an empty histogram.

        Args:
            bounds: the inclusive upper bounds of the buckets, ascending; `+Inf` is added.
        """
        self._bounds = list(bounds)
        self._names = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._counts = [0] * len(self._names)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float, count: int = 1) -> None:
        """Count a value, `count` times."""
        bucket = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[bucket] += count
            self._sum += value * count

    def read(self) -> tuple[dict[str, int], float]:
        """The number of values up to each bound, by the bound as text; and the sum of all values.

        The count of the last bound, `+Inf`, is that of all values.
        """
        with self._lock:
            counts, total = self._counts.copy(), self._sum
        return dict(zip(self._names, itertools.accumulate(counts), strict=True)), total
