"""Calls the rate limiter: Redis if one is configured, otherwise one Ray actor for all replicas."""

from __future__ import annotations

import asyncio

from pintag.serve.auth.actor_limiter import ActorLimiter
from pintag.serve.auth.local_quota import LocalQuotas, Take
from pintag.serve.auth.redis_limiter import RedisLimiter
from pintag.serve.auth.token_bucket import TakeRequest, TakeResponse
from pintag.serve.config import AccessConfig
from pintag.serve.errors import RateLimiterUnavailableError
from pintag.serve.observability.logs import log

_TIMEOUT_S = 1.0
# After a failure it is not called for this long, so that not every request waits for the timeout.
_PAUSE_S = 0.5


class RateLimiterClient:
    """Calls a rate limiter within a second, whatever happens to it."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._retry_at = 0.0

    async def take(self, request: TakeRequest) -> TakeResponse:
        """See `RateLimiter.take`.

        Raises:
            RateLimiterUnavailableError: there was no answer within a second, or half a second ago.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._retry_at:
            raise _unavailable()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._take(request)
        # Whatever it is: the setting `when_unavailable` decides what happens to the requests.
        except Exception as error:
            log.error("the rate limiter does not answer: %r", error)
            self._retry_at = loop.time() + _PAUSE_S
            raise _unavailable() from error


def _unavailable() -> RateLimiterUnavailableError:
    return RateLimiterUnavailableError(
        "the server cannot check the limits of this key at the moment; try again"
    )


def limiter(config: AccessConfig) -> ActorLimiter | RedisLimiter:
    """The rate limiter that is configured.

    Raises:
        ConfigError: `redis` is set, and the package redis is not installed, or the URL is wrong.
    """
    url = config.rate_limits.redis
    return ActorLimiter() if url is None else RedisLimiter(url)


def local_quotas(config: AccessConfig) -> LocalQuotas:
    """What a replica holds its clients to; see `limiter` for the errors."""
    take = RateLimiterClient(limiter(config).take).take
    return LocalQuotas(take, fail_open=config.rate_limits.when_unavailable == "open")
