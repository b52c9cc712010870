"""The queue in front of a replica's decoders: which of the waiting slow images is decoded next.

The order is that of Virtual Clock (L. Zhang, 1990). Every request owns the same share of the
decoders: as if each of the requests that a replica admits had slow images. An image is due when
this share would have decoded it, and the image that is due first is next. So an image waits for
the decodes in progress and for its own share, whatever images other requests wait with: a
photograph goes before pictures that declare more work, and none of them is overtaken for ever.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pintag.core.types import Pixels

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Job(Generic[Result]):
    due: float
    work: Callable[[], Result]
    future: Future[Result] = field(default_factory=Future)

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.work())
        # Whatever it is, it belongs to this image.
        except BaseException as error:
            self.future.set_exception(error)


class DecodeQueue:
    """Threads that wait for decoder processes, and the images that wait for a thread."""

    def __init__(
        self, threads: int, max_requests: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create the queue of one replica.

        Args:
            threads: how many images are decoded at a time.
            max_requests: how many requests have an equal share of the decoders.
            clock: returns seconds.
        """
        self._threads = ThreadPoolExecutor(threads, "pintag-decode")
        self._slowdown = max(1.0, max_requests / threads)
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[_Job[Pixels]] = []

    def request(self) -> RequestTurns:
        """The turns of a new request."""
        return RequestTurns(self)

    def due(self, earliest: float, seconds: float) -> float:
        """When a request's share has decoded an image of so many seconds, `earliest` or later."""
        return max(self._clock(), earliest) + self._slowdown * seconds

    async def run(self, due: float, work: Callable[[], Pixels]) -> Pixels:
        """The result of `work`, done in a thread in the order of `due`; cancelling it skips it."""
        job = _Job(due, work)
        with self._lock:
            self._waiting.append(job)
        self._threads.submit(self._run_next)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            # A cancelled job must not keep its image in memory until its turn comes.
            with self._lock:
                if job in self._waiting:
                    self._waiting.remove(job)

    def _run_next(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            # Of several, the first one that came.
            job = min(self._waiting, key=lambda job: job.due)
            self._waiting.remove(job)
        job.run()


class RequestTurns:
    """The slow images of one request: one is decoded at a time, in the request's own share."""

    def __init__(self, queue: DecodeQueue) -> None:
        self._queue = queue
        self._turn = asyncio.Lock()
        self._due = 0.0

    async def decode(self, seconds: float, work: Callable[[], Pixels]) -> Pixels:
        """The pixels that `work` returns.

        Args:
            seconds: how long the image may take, by its head.
            work: decodes the image. Its error is raised.
        """
        async with self._turn:
            self._due = self._queue.due(self._due, seconds)
            return await self._queue.run(self._due, work)
