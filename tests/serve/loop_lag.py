"""How long an event loop is held up: fixtures for the tests that import them.

What counts is the processor time of the loop's thread in one turn, the shortest of several runs:
other processes that share the caches of a processor make runs longer, on a busy machine most of
them. A turn that is really too long is so in all runs.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from pintag.images import decoding
from tests.pintag.images.encoded import encode, smooth

LIMIT_S = 0.005
REPEATS, MOST_REPEATS, PAUSE_S = 3, 20, 0.2
SMALL = encode(smooth(256, 192), "JPEG")


def slowness() -> float:
    """How many times slower this machine is at the moment than the one of docs/performance.md, at
    least 1."""
    seconds = []
    for _ in range(20):
        started = time.thread_time()
        decoding.decode(SMALL, 160)
        seconds.append(time.thread_time() - started)
    return max(1.0, min(seconds) / 0.0004)


Work = Callable[[], Coroutine[Any, Any, Any]]
Measure = Callable[[Work], float]


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Measure]:
    """Runs a coroutine several times, and returns the seconds of its loop's longest turn in the
    best run, converted to the machine of docs/performance.md."""
    turns: list[float] = []
    run = asyncio.events.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        started = time.thread_time()
        run(handle)
        turns.append(time.thread_time() - started)

    async def waited(work: Work) -> None:
        await asyncio.wait_for(work(), 60)

    def once(work: Work) -> float:
        before = slowness()
        turns.clear()
        asyncio.run(waited(work))
        return max(turns) / max(before, slowness())

    def measure(work: Work) -> float:
        seconds = min(once(work) for _ in range(REPEATS))
        for _ in range(REPEATS, MOST_REPEATS):
            if seconds < LIMIT_S:
                break
            time.sleep(PAUSE_S)
            seconds = min(seconds, once(work))
        print(f"{work.__qualname__}: {1000 * seconds:.1f} ms")
        return seconds

    monkeypatch.setattr(asyncio.events.Handle, "_run", timed)
    # A collection of the whole heap of the tests would count.
    gc.disable()
    yield measure
    gc.enable()
