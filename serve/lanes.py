"""Lanes: threads that take what has queued as one batch, and work on it.

An idle lane takes a lone image at once. While every lane is busy images queue, and the next batch
is what has queued by then: batches fill as the load grows, and no waiting time has to be chosen.
All that a batch needs happens in its lane's thread, as every hop between threads costs as much as a
part of the work itself. The event loop hands over, and is handed back to once for a batch.
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


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    future: asyncio.Future[Result]
    since: float

    @property
    def is_awaited(self) -> bool:
        """Whether somebody still waits: the client has not left, and its deadline not passed."""
        return not self.future.done()


class Lanes(Generic[Item, Result]):
    """So many threads, each with a batch of its own."""

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        threads: int,
        batch: int,
        on_wait: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Starts the threads.

        Args:
            work: from a batch to a result, or an error, for each of its items in their order.
            batch: the most items of one.
            on_wait: told the seconds that each item waited for its batch, in a lane's thread.
        """
        self._work, self._batch, self._on_wait = work, batch, on_wait
        self._threads = threads
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._changed = threading.Condition()
        self._seconds = 0.0
        for number in range(threads):
            threading.Thread(target=self._run, name=f"pintag-lane-{number}", daemon=True).start()

    @property
    def seconds_per_item(self) -> float:
        """Between one item's end and the next one's, of late; zero before the first."""
        return self._seconds

    def put(self, item: Item) -> asyncio.Future[Result]:
        """Queue an item; call in the event loop that waits for it. Cancelled, it is not begun."""
        waiting: _Waiting[Item, Result] = _Waiting(
            item, asyncio.get_running_loop().create_future(), time.perf_counter()
        )
        with self._changed:
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.future

    def _run(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                continue
            started = time.perf_counter()
            for waiting in batch:
                self._on_wait(started - waiting.since)
            results = self._results(batch)
            # A mean that follows the load: an eighth of it is this batch's.
            pace = (time.perf_counter() - started) / len(batch) / self._threads
            self._seconds += (pace - self._seconds) / (8 if self._seconds else 1)
            loop = batch[0].future.get_loop()
            try:
                loop.call_soon_threadsafe(_deliver, batch, results)
            except RuntimeError:
                # The loop has been closed: nobody waits for anything.
                return

    def _take(self) -> list[_Waiting[Item, Result]]:
        """What has queued and is still wanted, when there is something."""
        with self._changed:
            while not self._queue:
                self._changed.wait()
            count = min(len(self._queue), self._batch)
            taken = [self._queue.popleft() for _ in range(count)]
        return [waiting for waiting in taken if waiting.is_awaited]

    def _results(self, batch: Sequence[_Waiting[Item, Result]]) -> Sequence[Result | Exception]:
        try:
            return self._work([waiting.item for waiting in batch])
        # Whatever it is, whoever waits is told; a lane that ended would strand all that come after.
        except Exception as error:
            return [error] * len(batch)


def _deliver(
    batch: Sequence[_Waiting[Item, Result]], results: Sequence[Result | Exception]
) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if not waiting.is_awaited:
            continue
        if isinstance(result, Exception):
            waiting.future.set_exception(result)
        else:
            waiting.future.set_result(result)
