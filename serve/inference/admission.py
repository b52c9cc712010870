"""Admission control: how much a replica accepts at once, and its load for autoscaling."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

from ray.serve._private.common import RUNNING_REQUESTS_KEY

from pintag.core.errors import ImageTooLargeError
from pintag.serve.errors import OverloadedError
from pintag.serve.inference.core_sharing import BusyLock
from pintag.serve.inference.in_flight import InFlightTracker


@dataclass(frozen=True, slots=True)
class Load:
    """What a request, or a whole replica, has to hold."""

    images: int
    bytes: int = 0
    """Bytes of the encoded images."""


class Admission:
    """Admits requests up to a load in flight and refuses the others.

    A request gets at most half of what is free. So neither one request nor a few can take all, and
    there is room for the small requests of others. `DecodeQueue` admits what decoders have to do.
    """

    def __init__(self, limit: Load, busy: BusyLock) -> None:
        """Create the admission control of one replica.

        Args:
            limit: the highest load in flight.
            busy: held while any image is in flight, so that other replicas can see it.
        """
        self._limit, self._busy = limit, busy
        self._in_flight = InFlightTracker()
        self._bytes = 0

    @property
    def images(self) -> int:
        """The number of images in flight."""
        return self._in_flight.images

    @contextlib.contextmanager
    def admit(self, load: Load, seconds_per_image: float) -> Iterator[int]:
        """Count a request as in flight for the duration of the block.

        Args:
            load: the load of the request.
            seconds_per_image: the replica's current pace; `Retry-After` is computed from it.

        Yields:
            How many of its images the request may have in progress at a time.

        Raises:
            ImageTooLargeError: the request has more bytes than half of the limit.
            OverloadedError: too much is in flight.
        """
        images = self._admitted_images(load, seconds_per_image)
        self._check_bytes(load.bytes, seconds_per_image)
        if not self.images:
            self._busy.set_busy()
        self._count(images, load, 1)
        try:
            yield images
        finally:
            self._count(images, load, -1)
            if not self.images:
                self._busy.set_idle()

    def autoscaling_stats(self) -> dict[str, float]:
        """The mean number of requests in flight since the last call.

        Ray uses it in place of its own count: see `InFlightTracker`.
        """
        return {RUNNING_REQUESTS_KEY: self._in_flight.mean_requests()}

    def _admitted_images(self, load: Load, seconds_per_image: float) -> int:
        free = self._limit.images - self.images
        if free <= 0:
            raise self._overloaded(
                f"{self.images} images are in flight, the limit is {self._limit.images}; try again",
                seconds_per_image,
            )
        return min(load.images, max(1, free // 2))

    def _check_bytes(self, own: int, seconds_per_image: float) -> None:
        limit = self._limit.bytes
        if own > limit // 2:
            raise ImageTooLargeError(
                f"{own:,} bytes in one request; at most {limit // 2:,} are accepted; "
                "send several requests"
            )
        if own > (limit - self._bytes) // 2:
            raise self._overloaded(
                f"{self._bytes:,} bytes of images are in flight, the limit is {limit:,}; try again",
                seconds_per_image,
            )

    def _overloaded(self, message: str, seconds_per_image: float) -> OverloadedError:
        return OverloadedError(message, math.ceil(self.images * seconds_per_image) or 1)

    def _count(self, images: int, load: Load, sign: int) -> None:
        self._bytes += sign * load.bytes
        if sign > 0:
            self._in_flight.begin(images)
        else:
            self._in_flight.end(images)
