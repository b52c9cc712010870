"""A distribution, counted where it is observed."""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts of values up to each boundary, as Prometheus has them; safe from any thread."""

    def __init__(self, boundaries: Sequence[float]) -> None:
        """With the buckets' upper bounds, inclusive and ascending; one without a bound is added."""
        self._boundaries = list(boundaries)
        self._bounds = [*(str(float(each)) for each in boundaries), "+Inf"]
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count a value."""
        place = bisect_left(self._boundaries, value)
        with self._lock:
            self._counts[place] += 1
            self._sum += value

    def read(self) -> tuple[dict[str, int], float]:
        """How many values so far are at most each bound, by the bound's text; and their sum.

        The last bound is `+Inf`: what is at most that is all of them.
        """
        with self._lock:
            counts, total = self._counts.copy(), self._sum
        return dict(zip(self._bounds, itertools.accumulate(counts), strict=True)), total
