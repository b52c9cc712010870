"""What is under way in a replica, now and in the mean: what it admits and what Ray scales by."""

from __future__ import annotations

import time
from collections.abc import Callable


class Ongoing:
    """Requests that have begun and not ended, and their images.

    Ray takes a sample of the requests every few seconds, on the event loop. A lone image is worked
    on in that loop: a sample never falls into its time, and a replica that is busy for nine tenths
    of its time would seem to have nothing to do. So the mean is kept, of all the time there is.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.images = 0
        self._requests = 0
        self._clock = clock
        self._since = self._asked = clock()
        # Requests times seconds, since the mean was last asked for.
        self._area = 0.0

    def begin(self, images: int) -> None:
        """A request of so many images."""
        self._pass_time()
        self._requests += 1
        self.images += images

    def end(self, images: int) -> None:
        """It is answered, or given up."""
        self._pass_time()
        self._requests -= 1
        self.images -= images

    def mean_requests(self) -> float:
        """Since it was last asked for."""
        self._pass_time()
        seconds = self._since - self._asked
        mean = self._area / seconds if seconds > 0 else float(self._requests)
        self._asked, self._area = self._since, 0.0
        return mean

    def _pass_time(self) -> None:
        now = self._clock()
        self._area += self._requests * (now - self._since)
        self._since = now
