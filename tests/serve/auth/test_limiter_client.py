"""Calls to the rate limiter: they end within a second, whatever happens to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pintag.serve.auth import actor_limiter, limiter_client
from pintag.serve.auth.actor_limiter import ActorLimiter
from pintag.serve.auth.limiter_client import RateLimiterClient
from pintag.serve.auth.limits import RateLimits
from pintag.serve.auth.token_bucket import RateLimiter, TakeRequest, TakeResponse
from pintag.serve.config import AccessConfig, RateLimitConfig
from pintag.serve.errors import RateLimiterUnavailableError
from tests.serve.auth.conftest import Clock, client, run

REQUEST = TakeRequest("mine:1", RateLimits(per_day=5), 0.0, (1,))


class Actor:
    """A Ray actor's handle: its answers are awaited."""

    def __init__(self) -> None:
        self.limiter, self.take = RateLimiter(), self
        self.error: Exception | None = None

    async def remote(self, request: TakeRequest) -> TakeResponse:
        if self.error is not None:
            raise self.error
        return self.limiter.take(request)


@pytest.fixture
def ray_is_back() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def outcome(limiter: RateLimiterClient) -> str:
    """How a call ends, and the seconds of the event loop that it takes."""
    started = asyncio.get_running_loop().time()
    try:
        await limiter.take(REQUEST)
    except RateLimiterUnavailableError:
        return f"failed after {asyncio.get_running_loop().time() - started:.0f} s"
    return "answered"


def test_a_call_without_an_answer_ends_after_a_second_and_the_next_ones_at_once() -> None:
    async def never(_: TakeRequest) -> TakeResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def calls() -> list[str]:
        limiter = RateLimiterClient(never)
        outcomes = [await outcome(limiter), await outcome(limiter)]
        await asyncio.sleep(0.5)
        return [*outcomes, await outcome(limiter)]

    assert run(calls(), Clock()) == ["failed after 1 s", "failed after 0 s", "failed after 1 s"]


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("no actor"), KeyError("a fault")])
def test_every_error_of_a_rate_limiter_means_that_it_is_unavailable(error: Exception) -> None:
    async def fail(_: TakeRequest) -> TakeResponse:
        raise error

    assert run(outcome(RateLimiterClient(fail)), Clock()) == "failed after 0 s"


def test_an_actor_that_died_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    actors = [Actor(), Actor()]
    monkeypatch.setattr(actor_limiter, "_actor", iter(actors).__next__)
    monkeypatch.setattr(limiter_client, "_PAUSE_S", 0.0)

    async def calls() -> list[str]:
        limiter = RateLimiterClient(ActorLimiter().take)
        outcomes = [await outcome(limiter)]
        actors[0].error = OSError("the actor died")
        return [*outcomes, await outcome(limiter), await outcome(limiter)]

    assert asyncio.run(calls()) == ["answered", "failed after 0 s", "answered"]


def test_calls_end_while_ray_does_not_answer_and_only_one_thread_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, ray_is_back: threading.Event
) -> None:
    lookups: list[str] = []

    def lookup() -> Any:
        lookups.append(threading.current_thread().name)
        ray_is_back.wait()
        return Actor()

    monkeypatch.setattr(actor_limiter, "_actor", lookup)
    monkeypatch.setattr(limiter_client, "_TIMEOUT_S", 0.01)
    monkeypatch.setattr(limiter_client, "_PAUSE_S", 0.0)

    async def calls() -> None:
        limiter = RateLimiterClient(ActorLimiter().take)
        for _ in range(3):
            assert (await outcome(limiter)).startswith("failed")
        monkeypatch.setattr(limiter_client, "_TIMEOUT_S", 60.0)
        ray_is_back.set()
        assert await outcome(limiter) == "answered"

    asyncio.run(calls())
    assert lookups == ["pintag-rate-limiter"]


@pytest.mark.parametrize("when_unavailable", ["closed", "open"])
def test_the_setting_decides_what_happens_without_a_rate_limiter(
    monkeypatch: pytest.MonkeyPatch, when_unavailable: str
) -> None:
    def fail() -> Any:
        raise ValueError("no Ray")

    monkeypatch.setattr(actor_limiter, "_actor", fail)
    limits = RateLimitConfig.model_validate({"when_unavailable": when_unavailable})
    quotas = limiter_client.local_quotas(AccessConfig(rate_limits=limits))
    request = quotas.admit(client(RateLimits(per_day=5)))
    if when_unavailable == "open":
        assert asyncio.run(request).admitted
    else:
        with pytest.raises(RateLimiterUnavailableError, match="cannot check the limits of this"):
            asyncio.run(request)
