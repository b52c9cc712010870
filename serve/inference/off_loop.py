"""Work on encoded images: short work in the event loop, long work in a thread.

Passing work to a thread and back takes 100 µs, and nothing may hold up the loop for 5 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

# Reading 4 heads, or hashing this many bytes, takes less than a millisecond.
_SHORT_IMAGES, _SHORT_BYTES = 4, 2**18
# One thread: more of them would take the loop's core.
_thread = ThreadPoolExecutor(1, "pintag-off-loop")


async def map_images(function: Callable[[bytes], Result], images: Sequence[bytes]) -> list[Result]:
    """The results of a function for encoded images, in order; it must take little for each."""
    if len(images) <= _SHORT_IMAGES and sum(map(len, images)) <= _SHORT_BYTES:
        return [function(data) for data in images]
    return await asyncio.get_running_loop().run_in_executor(_thread, _map, function, images)


def _map(function: Callable[[bytes], Result], images: Sequence[bytes]) -> list[Result]:
    results = []
    for data in images:
        results.append(function(data))
        # Otherwise Python lets the loop wait for up to 5 ms before it may run.
        time.sleep(0)
    return results
