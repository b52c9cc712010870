"""Dynamic batching: threads that each take what has queued as one batch.

An idle thread takes a lone item at once. While all threads are busy, items queue, and the next
batch is everything that has queued by then. So batches grow with the load, and no waiting time has
to be configured. One thread does all work on a batch, because passing an image to another thread
takes a noticeable part of its time. The results of a batch return to the event loop in one call.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A new batch has a weight of 1/8 in the running mean of the pace.
_PACE_BATCHES = 8


@dataclass(slots=True, eq=False)
class _QueuedItem(Generic[Item, Result]):
    item: Item
    future: asyncio.Future[Result]
    queued_at: float
    on_late: Callable[[Result], None] | None

    @property
    def is_awaited(self) -> bool:
        """Whether the result is still needed: not cancelled by its client or its deadline."""
        return not self.future.done()


class DynamicBatcher(Generic[Item, Result]):
    """A queue and the threads that work on it, one batch per thread at a time."""

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        threads: int,
        max_batch_size: int,
        on_wait: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Start the threads.

        Args:
            work: returns a result or an error for each item of a batch, in order.
            threads: the number of batches in progress at once.
            max_batch_size: the largest number of items in a batch.
            on_wait: called with the seconds each item waited for its batch, in a batch thread.
        """
        self._work, self._max_batch_size, self._on_wait = work, max_batch_size, on_wait
        self._num_threads = threads
        self._queue: deque[_QueuedItem[Item, Result]] = deque()
        self._queue_changed = threading.Condition()
        self._pace = 0.0
        for number in range(threads):
            threading.Thread(target=self._run, name=f"pintag-batch-{number}", daemon=True).start()

    @property
    def seconds_per_item(self) -> float:
        """A running mean of the seconds between two finished items; 0 before the first."""
        return self._pace

    def put(
        self, item: Item, on_late: Callable[[Result], None] | None = None
    ) -> asyncio.Future[Result]:
        """Queue an item, and return the future of its result.

        Call it in the event loop that awaits the future. An item whose future is cancelled before
        its batch starts is skipped.

        Args:
            on_late: called in the event loop with the result, if the future was cancelled while the
                batch was in progress.
        """
        queued: _QueuedItem[Item, Result] = _QueuedItem(
            item, asyncio.get_running_loop().create_future(), time.perf_counter(), on_late
        )
        with self._queue_changed:
            self._queue.append(queued)
            self._queue_changed.notify()
        return queued.future

    def _run(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                continue
            started = time.perf_counter()
            for queued in batch:
                self._on_wait(started - queued.queued_at)
            results = self._results(batch)
            self._update_pace((time.perf_counter() - started) / len(batch) / self._num_threads)
            loop = batch[0].future.get_loop()
            try:
                loop.call_soon_threadsafe(_deliver, batch, results)
            except RuntimeError:
                # The loop is closed, so no future is awaited any more.
                return

    def _take(self) -> list[_QueuedItem[Item, Result]]:
        """Wait for the queue to fill, then return the next batch without cancelled items."""
        with self._queue_changed:
            while not self._queue:
                self._queue_changed.wait()
            count = min(len(self._queue), self._max_batch_size)
            taken = [self._queue.popleft() for _ in range(count)]
        return [queued for queued in taken if queued.is_awaited]

    def _results(self, batch: Sequence[_QueuedItem[Item, Result]]) -> Sequence[Result | Exception]:
        try:
            return self._work([queued.item for queued in batch])
        # Any error becomes the result of every item. If the thread ended, later items would wait
        # for ever.
        except Exception as error:
            return [error] * len(batch)

    def _update_pace(self, seconds: float) -> None:
        self._pace += (seconds - self._pace) / (_PACE_BATCHES if self._pace else 1)


def _deliver(
    batch: Sequence[_QueuedItem[Item, Result]], results: Sequence[Result | Exception]
) -> None:
    for queued, result in zip(batch, results, strict=True):
        if not queued.is_awaited:
            if queued.on_late and not isinstance(result, Exception):
                queued.on_late(result)
        elif isinstance(result, Exception):
            queued.future.set_exception(result)
        else:
            queued.future.set_result(result)
