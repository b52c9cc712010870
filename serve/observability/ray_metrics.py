"""Ray's counters and gauges, which here raise no error: a metric never makes an answer fail.

A metric that cannot be recorded is counted, and logged the first time.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from ray.serve import metrics

from pintag.serve.observability.logs import log

# Everything that ASCII can print, but for the sign that begins an escape.
_SAFE = (string.ascii_letters + string.digits + string.punctuation + " ").replace("%", "")


class Failures:
    """The number of metrics that could not be recorded."""

    def __init__(self) -> None:
        self.count = 0

    def guard(self, record: Callable[..., object], *args: Any, **options: Any) -> None:
        """Record a metric; count an error instead of raising it."""
        try:
            record(*args, **options)
        # Ray raises errors of many kinds, for a label as for a node that is gone.
        except Exception as error:
            self.count += 1
            if self.count == 1:
                log.warning("a metric cannot be recorded, requests go on", exc_info=error)


failures = Failures()
"""Of all metrics of this process."""


class Counter:
    """A counter of Ray."""

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] = ()) -> None:
        self._metric = metrics.Counter(name, description, tag_keys)

    def inc(self, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        """Add a value to the counter of these labels."""
        failures.guard(self._metric.inc, value, tags=escaped(tags))


class Gauge:
    """A gauge of Ray."""

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] = ()) -> None:
        self._metric = metrics.Gauge(name, description, tag_keys)

    def set(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Set the gauge of these labels."""
        failures.guard(self._metric.set, value, tags=escaped(tags))


def escaped(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Labels with values that Ray accepts."""
    return {key: escape(value) for key, value in tags.items()} if tags else {}


@functools.lru_cache(maxsize=4096)
def escape(value: str) -> str:
    """A label's value in ASCII, as Ray requires: all else, and `%`, is percent-encoded UTF-8.

    `urllib.parse.unquote` gives the value again.
    """
    return quote(value, safe=_SAFE, errors="surrogateescape")
