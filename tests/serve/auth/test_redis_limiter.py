"""The rate limiter in Redis, as a replica calls it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pintag.core.errors import ConfigError
from pintag.serve.auth import limiter_client, redis_limiter
from pintag.serve.auth.actor_limiter import ActorLimiter
from pintag.serve.auth.limiter_client import RateLimiterClient
from pintag.serve.auth.limits import RateLimits
from pintag.serve.auth.local_quota import LocalQuotas
from pintag.serve.auth.redis_limiter import RedisLimiter
from pintag.serve.auth.token_bucket import TakeRequest
from pintag.serve.config import AccessConfig, RateLimitConfig
from pintag.serve.errors import RateLimiterUnavailableError
from tests.serve.auth.conftest import PASSWORD, client

MINE = client(RateLimits(per_day=5))
REQUEST = TakeRequest("mine:1", MINE.limits, 0.0, (1,))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisLimiter]:
    limiter = RedisLimiter(url)
    try:
        yield limiter
    finally:
        await limiter.close()


async def admitted(url: str, images: int) -> bool:
    """Whether a new replica admits some images."""
    async with connected(url) as limiter:
        quotas = LocalQuotas(RateLimiterClient(limiter.take).take)
        return (await quotas.admit(MINE, images)).admitted


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINTAG_REDIS_PASSWORD", PASSWORD)


@pytest.mark.usefixtures("password")
def test_replicas_share_the_counts(redis_url: str, redis_client: Any) -> None:
    redis_client.flushdb()
    assert [asyncio.run(admitted(redis_url, 4)) for _ in range(2)] == [True, False]


def test_the_password_may_be_in_the_url(redis_url: str, redis_client: Any) -> None:
    redis_client.flushdb()
    assert asyncio.run(admitted(redis_url.replace("//", f"//:{PASSWORD}@"), 1))


def test_a_wrong_password_means_that_the_rate_limiter_is_unavailable(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINTAG_REDIS_PASSWORD", "wrong")
    with pytest.raises(RateLimiterUnavailableError):
        asyncio.run(admitted(redis_url, 1))


def test_a_redis_that_is_away_means_that_the_rate_limiter_is_unavailable(redis_url: str) -> None:
    with pytest.raises(RateLimiterUnavailableError):
        asyncio.run(admitted("redis://127.0.0.1:1/0", 1))


@pytest.mark.usefixtures("password")
def test_a_restarted_redis_gets_the_script_and_a_new_connection(
    redis_url: str, redis_client: Any
) -> None:
    async def calls() -> float:
        async with connected(redis_url) as limiter:
            await limiter.take(REQUEST)
            redis_client.script_flush()
            redis_client.client_kill_filter(_type="normal", skipme=True)
            return (await limiter.take(REQUEST)).day_left

    redis_client.flushdb()
    assert asyncio.run(calls()) == 3


@pytest.mark.usefixtures("password")
def test_counts_are_forgotten_only_when_they_no_longer_matter(
    redis_url: str, redis_client: Any
) -> None:
    async def call() -> None:
        limits = RateLimits(per_second=0.001, burst=1000)
        async with connected(redis_url) as limiter:
            await limiter.take(TakeRequest("slow", limits, 0.0, (1000,)))
            await limiter.take(REQUEST)

    redis_client.flushdb()
    asyncio.run(call())
    assert 999_000 < redis_client.ttl(redis_limiter.key("slow")) <= 1_000_000
    assert 2 * 86400 - 60 < redis_client.ttl(redis_limiter.key("mine:1")) <= 2 * 86400


def test_without_its_package_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.connection", None)
    with pytest.raises(ConfigError, match=r"`make setup` installs it, or `pip"):
        RedisLimiter("redis://localhost")


def test_the_setting_chooses_redis(redis_url: str) -> None:
    config = AccessConfig(rate_limits=RateLimitConfig(redis=redis_url))
    assert isinstance(limiter_client.limiter(config), RedisLimiter)
    assert isinstance(limiter_client.limiter(AccessConfig()), ActorLimiter)


def test_a_wrong_url_is_an_error_that_does_not_have_the_password() -> None:
    pytest.importorskip("redis", reason="the package redis is not installed")
    with pytest.raises(ConfigError, match="is not the URL of a Redis") as caught:
        redis_limiter.check(f"http://:{PASSWORD}@redis")
    assert PASSWORD not in str(caught.value)
