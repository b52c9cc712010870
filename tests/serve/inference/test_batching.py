"""The dynamic batcher: queued items form the next batch, and cancelled items are skipped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from pintag.serve.inference.batching import DynamicBatcher


class Work:
    """Doubles even numbers and refuses odd ones; each batch waits for `released` if held."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Semaphore(0)
        self.released = threading.Semaphore(0)
        self._held = held

    def __call__(self, batch: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(batch))
        self.started.release()
        if self._held:
            assert self.released.acquire(timeout=30)
        return [ValueError(f"{n} is odd") if n % 2 else 2 * n for n in batch]


def run(test: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(30):
            return await test()

    return asyncio.run(bounded())


async def batch_started(work: Work) -> None:
    """Wait until a batch is in progress."""
    assert await asyncio.to_thread(work.started.acquire, timeout=30)


def test_a_lone_item_is_a_batch_of_its_own_at_once() -> None:
    work = Work()

    async def test() -> int:
        return await DynamicBatcher(work, threads=1, max_batch_size=8).put(4)

    assert run(test) == 8
    assert work.batches == [[4]]


def test_items_that_queue_while_a_thread_is_busy_are_its_next_batch() -> None:
    work = Work(held=True)

    async def test() -> list[int]:
        batcher = DynamicBatcher(work, threads=1, max_batch_size=3)
        first = batcher.put(0)
        await batch_started(work)
        others = [batcher.put(n) for n in (2, 4, 6, 8)]
        for _ in range(3):
            work.released.release()
        return await asyncio.gather(first, *others)

    assert run(test) == [0, 4, 8, 12, 16]
    assert work.batches == [[0], [2, 4, 6], [8]]


def test_as_many_batches_are_in_progress_as_there_are_threads() -> None:
    work = Work(held=True)

    async def test() -> None:
        batcher = DynamicBatcher(work, threads=2, max_batch_size=1)
        results = [batcher.put(2), batcher.put(4), batcher.put(6)]
        await batch_started(work)
        await batch_started(work)
        assert sorted(work.batches) == [[2], [4]]
        for _ in range(3):
            work.released.release()
        assert await asyncio.gather(*results) == [4, 8, 12]

    run(test)


def test_an_error_belongs_to_its_item() -> None:
    work = Work(held=True)

    async def test() -> list[Any]:
        batcher = DynamicBatcher(work, threads=1, max_batch_size=8)
        first = batcher.put(0)
        await batch_started(work)
        others = [batcher.put(n) for n in (2, 3, 4)]
        work.released.release()
        work.released.release()
        return await asyncio.gather(first, *others, return_exceptions=True)

    zero, two, three, four = run(test)
    assert (zero, two, four) == (0, 4, 8)
    assert str(three) == "3 is odd"


def test_a_failed_batch_fails_all_its_items_and_the_thread_continues() -> None:
    def work(batch: Sequence[str]) -> list[str | Exception]:
        if "bad" in batch:
            raise MemoryError("the engine is out of memory")
        return list(batch)

    async def test() -> None:
        batcher = DynamicBatcher(work, threads=1, max_batch_size=8)
        for _ in range(3):
            with pytest.raises(MemoryError, match="out of memory"):
                await batcher.put("bad")
        assert await batcher.put("good") == "good"

    run(test)


def test_a_cancelled_item_is_not_started() -> None:
    work = Work(held=True)

    async def test() -> None:
        batcher = DynamicBatcher(work, threads=1, max_batch_size=8)
        first = batcher.put(0)
        await batch_started(work)
        cancelled, kept = batcher.put(2), batcher.put(4)
        cancelled.cancel()
        work.released.release()
        work.released.release()
        assert await asyncio.gather(first, kept) == [0, 8]

    run(test)
    assert work.batches == [[0], [4]]


def test_a_batch_of_cancelled_items_is_skipped() -> None:
    work = Work(held=True)

    async def test() -> None:
        batcher = DynamicBatcher(work, threads=1, max_batch_size=8)
        first = batcher.put(0)
        await batch_started(work)
        batcher.put(2).cancel()
        work.released.release()
        assert await first == 0
        last = batcher.put(4)
        work.released.release()
        assert await last == 8

    run(test)
    assert work.batches == [[0], [4]]


def test_an_item_cancelled_during_its_batch_does_no_harm() -> None:
    work = Work(held=True)

    async def test() -> None:
        batcher = DynamicBatcher(work, threads=1, max_batch_size=8)
        cancelled = batcher.put(2)
        await batch_started(work)
        cancelled.cancel()
        work.released.release()
        work.released.release()
        assert await batcher.put(4) == 8

    run(test)


def test_waits_and_pace_are_reported() -> None:
    waits: list[float] = []
    work = Work()

    async def test() -> float:
        batcher = DynamicBatcher(work, threads=1, max_batch_size=8, on_wait=waits.append)
        assert batcher.seconds_per_item == 0
        await batcher.put(2)
        await batcher.put(4)
        return batcher.seconds_per_item

    assert 0 < run(test) < 30
    assert len(waits) == 2
    assert all(0 <= wait < 30 for wait in waits)
