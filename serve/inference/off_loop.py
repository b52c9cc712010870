"""Short work in turns of the event loop, long work in a thread.

Passing work to a thread and back takes 100 µs, and nothing may hold up the loop for 5 ms.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Result = TypeVar("Result")
P = ParamSpec("P")

# Reading 4 headers, or hashing this many bytes, takes less than a millisecond.
_SHORT_IMAGES, _SHORT_BYTES = 4, 2**18
# The seconds of one turn of a loop over many small parts.
_TURN_S = 0.001
# One thread: more of them would take the loop's core.
_thread = ThreadPoolExecutor(1, "pintag-off-loop")


class Turns:
    """Divides the many small parts of a coroutine's work into turns of the event loop."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    async def end_of_part(self) -> None:
        """Let the loop do other work if this turn has been long enough."""
        if time.perf_counter() - self._started > _TURN_S:
            await asyncio.sleep(0)
            self._started = time.perf_counter()


async def run(function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """The result of a function that runs in the thread."""
    call = functools.partial(function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_thread, call)


async def map_images(function: Callable[[bytes], Result], images: Sequence[bytes]) -> list[Result]:
    """The results of a function for encoded images, in order; it must take little for each."""
    if len(images) <= _SHORT_IMAGES and sum(map(len, images)) <= _SHORT_BYTES:
        return [function(data) for data in images]
    return await run(_map, function, images)


async def digests(images: Sequence[bytes]) -> list[bytes]:
    """The SHA-256 of each image, of 32 bytes."""
    return await map_images(lambda data: hashlib.sha256(data).digest(), images)


def _map(function: Callable[[bytes], Result], images: Sequence[bytes]) -> list[Result]:
    results = []
    for data in images:
        results.append(function(data))
        # Otherwise Python lets the loop wait for up to 5 ms before it may run.
        time.sleep(0)
    return results
