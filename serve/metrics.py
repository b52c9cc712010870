"""The server's metrics, declared once. Prometheus reads them from every node's metrics port.

Ray puts `ray_` before each name and adds the labels application, deployment and replica.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from ray.serve.metrics import Counter, Histogram

_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
_SIZES = [1, 2, 4, 8, 16, 32, 64, 128]


class Metrics:
    """What one replica counts and times."""

    def __init__(self) -> None:
        self.decode = Histogram(
            "pintag_decode_seconds", "Decoding one image, from bytes to pixels", _SECONDS
        )
        self.wait = Histogram(
            "pintag_wait_seconds", "One image's wait for its batch to form and start", _SECONDS
        )
        self.inference = Histogram(
            "pintag_inference_seconds", "One batch through the engine", _SECONDS
        )
        self._total = Histogram(
            "pintag_total_seconds", "One request, from its head to its answer", _SECONDS
        )
        self.batch_size = Histogram("pintag_batch_size", "Images in one batch", _SIZES)
        self._tags = Counter("pintag_tags", "Images by their most confident label", ("label",))
        self._errors = Counter("pintag_errors", "Images and requests refused or failed", ("kind",))

    def timed_request(self) -> AbstractContextManager[None]:
        """Observe the seconds of one request, from its head to its answer."""
        return timed(self._total)

    def count_tag(self, label: str) -> None:
        """An image was given `label` first."""
        self._tags.inc(tags={"label": label})

    def count_error(self, kind: str) -> None:
        """Something went wrong; `kind` is that of its `Problem`."""
        self._errors.inc(tags={"kind": kind})


@contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    """Observe the wall seconds of the block, however it ends."""
    started = time.perf_counter()
    try:
        yield
    finally:
        histogram.observe(time.perf_counter() - started)
