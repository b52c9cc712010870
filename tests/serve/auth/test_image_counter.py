"""The images of one request: the first counts with its head, the others after its body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pintag.serve.auth.image_counter import ImageCounter
from pintag.serve.auth.limits import RateLimits
from pintag.serve.auth.local_quota import LocalQuotas
from pintag.serve.auth.token_bucket import RateLimiter, TakeRequest, TakeResponse
from pintag.serve.errors import RateLimitedError, TooManyImagesError
from tests.serve.auth.conftest import client

LIMITS = RateLimits(per_second=0.5, burst=3)


def counted(work: Callable[[ImageCounter], Coroutine[Any, Any, None]]) -> ImageCounter:
    """The counter of a request whose head has arrived, after some work."""
    limiter = RateLimiter(lambda: 0.0)

    async def take(request: TakeRequest) -> TakeResponse:
        return limiter.take(request)

    async def request() -> ImageCounter:
        counter = ImageCounter(client(LIMITS), LocalQuotas(take))
        await counter.admit(1)
        await work(counter)
        return counter

    return asyncio.run(request())


def test_the_first_image_counts_once() -> None:
    counter = counted(lambda counter: counter.count(3))
    assert counter.outcome == "admitted"
    assert [status.remaining for status in counter.statuses] == [0]


def test_more_images_than_the_limits_ever_admit_are_not_counted() -> None:
    async def work(counter: ImageCounter) -> None:
        with pytest.raises(TooManyImagesError, match=r"4 images.*at most 3 at once"):
            await counter.count(4)
        assert counter.outcome == "refused"

    assert [status.remaining for status in counted(work).statuses] == [2]


def test_a_refused_request_waits_for_its_first_image_as_well() -> None:
    async def work(counter: ImageCounter) -> None:
        await counter.admit(1)
        with pytest.raises(RateLimitedError, match="for 3 images; try again in 4 s") as refused:
            await counter.count(3)
        assert refused.value.headers == {"Retry-After": "4"}

    assert counted(work).outcome == "refused"
