"""Lanes: what queues is the next batch, a lone item never waits, and what nobody wants is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from serve.lanes import Lanes


class Work:
    """Doubles numbers, and refuses odd ones; it goes on only as it is let."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.let = threading.Semaphore(0)
        self._held = held

    def __call__(self, batch: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(batch))
        self.begun.release()
        if self._held:
            assert self.let.acquire(timeout=30)
        return [ValueError(f"{n} is odd") if n % 2 else 2 * n for n in batch]


def run(test: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(30):
            return await test()

    return asyncio.run(bounded())


async def begun(work: Work) -> None:
    """Wait until a batch is being worked on."""
    assert await asyncio.to_thread(work.begun.acquire, timeout=30)


def test_a_lone_item_is_a_batch_of_its_own_at_once() -> None:
    work = Work()

    async def test() -> int:
        return await Lanes(work, threads=1, batch=8).put(4)

    assert run(test) == 8
    assert work.batches == [[4]]


def test_what_queues_while_a_lane_is_busy_is_its_next_batch() -> None:
    work = Work(held=True)

    async def test() -> list[int]:
        lanes = Lanes(work, threads=1, batch=3)
        first = lanes.put(0)
        await begun(work)
        others = [lanes.put(n) for n in (2, 4, 6, 8)]
        for _ in range(3):
            work.let.release()
        return await asyncio.gather(first, *others)

    assert run(test) == [0, 4, 8, 12, 16]
    assert work.batches == [[0], [2, 4, 6], [8]]


def test_as_many_batches_are_under_way_as_there_are_lanes() -> None:
    work = Work(held=True)

    async def test() -> None:
        lanes = Lanes(work, threads=2, batch=1)
        results = [lanes.put(2), lanes.put(4), lanes.put(6)]
        await begun(work)
        await begun(work)
        assert sorted(work.batches) == [[2], [4]]
        for _ in range(3):
            work.let.release()
        assert await asyncio.gather(*results) == [4, 8, 12]

    run(test)


def test_an_error_is_its_items_own() -> None:
    work = Work(held=True)

    async def test() -> list[Any]:
        lanes = Lanes(work, threads=1, batch=8)
        first = lanes.put(0)
        await begun(work)
        others = [lanes.put(n) for n in (2, 3, 4)]
        work.let.release()
        work.let.release()
        return await asyncio.gather(first, *others, return_exceptions=True)

    zero, two, three, four = run(test)
    assert (zero, two, four) == (0, 4, 8)
    assert str(three) == "3 is odd"


def test_work_that_fails_whole_is_told_to_all_and_the_lane_goes_on() -> None:
    def work(batch: Sequence[str]) -> list[str | Exception]:
        if "bad" in batch:
            raise MemoryError("the engine is out of memory")
        return list(batch)

    async def test() -> None:
        lanes = Lanes(work, threads=1, batch=8)
        for _ in range(3):
            with pytest.raises(MemoryError, match="out of memory"):
                await lanes.put("bad")
        assert await lanes.put("good") == "good"

    run(test)


def test_what_nobody_waits_for_is_not_begun() -> None:
    work = Work(held=True)

    async def test() -> None:
        lanes = Lanes(work, threads=1, batch=8)
        first = lanes.put(0)
        await begun(work)
        left, stayed = lanes.put(2), lanes.put(4)
        left.cancel()
        work.let.release()
        work.let.release()
        assert await asyncio.gather(first, stayed) == [0, 8]

    run(test)
    assert work.batches == [[0], [4]]


def test_a_batch_that_nobody_waits_for_is_passed_over() -> None:
    work = Work(held=True)

    async def test() -> None:
        lanes = Lanes(work, threads=1, batch=8)
        first = lanes.put(0)
        await begun(work)
        lanes.put(2).cancel()
        work.let.release()
        assert await first == 0
        last = lanes.put(4)
        work.let.release()
        assert await last == 8

    run(test)
    assert work.batches == [[0], [4]]


def test_one_that_leaves_during_the_work_spoils_nothing() -> None:
    work = Work(held=True)

    async def test() -> None:
        lanes = Lanes(work, threads=1, batch=8)
        left = lanes.put(2)
        await begun(work)
        left.cancel()
        work.let.release()
        work.let.release()
        assert await lanes.put(4) == 8

    run(test)


def test_waits_and_pace_are_told() -> None:
    waits: list[float] = []
    work = Work()

    async def test() -> float:
        lanes = Lanes(work, threads=1, batch=8, on_wait=waits.append)
        assert lanes.seconds_per_item == 0
        await lanes.put(2)
        await lanes.put(4)
        return lanes.seconds_per_item

    assert 0 < run(test) < 30
    assert len(waits) == 2
    assert all(0 <= wait < 30 for wait in waits)
