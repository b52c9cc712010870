"""Counts the images of a request for the rate limits of its key.

The first image is counted when the head of the request arrives. How many there are is known only
after the body has been read, and so the others are counted then, before any is decoded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Scope

CountImages = Callable[[int], Awaitable[None]]
_KEY = "pintag.count_images"


def with_counter(scope: Scope, count_images: CountImages) -> Scope:
    """The scope of a request whose images `count_images` counts."""
    return {**scope, _KEY: count_images}


async def count(scope: Scope, images: int) -> None:
    """Count all images of a request.

    Raises:
        RefusedError: the limits of the request's key do not admit them.
    """
    count_images: Any = scope.get(_KEY)
    if count_images is not None:
        await count_images(images)
