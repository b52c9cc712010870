"""The number of requests and images in flight in a replica, now and on average."""

from __future__ import annotations

import time
from collections.abc import Callable


class InFlightTracker:
    """Counts requests that have started and not ended, and their images.

    Ray samples the number of running requests every few seconds, on the event loop. A lone image is
    processed on that loop, so a sample never sees it: a replica that is busy nine tenths of the
    time would look idle. Therefore this class integrates the number of requests over time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with nothing in flight; `clock` returns seconds."""
        self.images = self._requests = 0
        self._clock = clock
        self._updated_at = self._read_at = clock()
        # The integral of the requests over time since the mean was last read, in seconds.
        self._request_seconds = 0.0

    def begin(self, images: int) -> None:
        """Count a request with this number of images."""
        self._integrate()
        self._requests += 1
        self.images += images

    def end(self, images: int) -> None:
        """Remove a request that is answered, failed or cancelled."""
        self._integrate()
        self._requests -= 1
        self.images -= images

    def mean_requests(self) -> float:
        """The mean number of requests in flight since the last call."""
        self._integrate()
        seconds = self._updated_at - self._read_at
        mean = self._request_seconds / seconds if seconds > 0 else float(self._requests)
        self._read_at, self._request_seconds = self._updated_at, 0.0
        return mean

    def _integrate(self) -> None:
        now = self._clock()
        self._request_seconds += self._requests * (now - self._updated_at)
        self._updated_at = now
