"""The rate limiter in Redis: one script counts, so that each request is one atomic call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pintag.core.errors import ConfigError
from pintag.serve.auth import token_bucket
from pintag.serve.auth.token_bucket import TakeRequest, TakeResponse

PASSWORD = "PINTAG_REDIS_PASSWORD"  # noqa: S105 - the name of an environment variable
SCRIPT = Path(__file__).with_name("take.lua").read_text()
_PREFIX = "pintag:rate_limit:"
_ANSWER_S = 2.0


class RedisLimiter:
    """Calls the script. Replicas, and servers, that use the same Redis share their counts."""

    def __init__(self, url: str) -> None:
        """Prepare to connect to the Redis at `url`; the first call connects.

        The password may be in the environment variable PINTAG_REDIS_PASSWORD instead of the URL.

        Raises:
            ConfigError: the package redis is not installed, or the URL is wrong.
        """
        check(url)
        from redis import asyncio as redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._redis = redis.Redis.from_url(
            url,
            password=os.environ.get(PASSWORD),
            decode_responses=True,
            # Connections are closed when Redis restarts. The first call after that connects anew.
            retry=Retry(NoBackoff(), 1),
        )
        self._script = self._redis.register_script(SCRIPT)

    async def take(self, request: TakeRequest) -> TakeResponse:
        """Admit requests of one client, or refuse them, and lease tokens to the replica."""
        return decode(await self._script(keys=[key(request.client)], args=arguments(request)))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def check(url: str) -> None:
    """Check that `RedisLimiter` can be created.

    Raises:
        ConfigError: the package redis is not installed, or the URL is wrong.
    """
    try:
        from redis.connection import parse_url
    except ImportError as error:
        raise ConfigError(
            "access.rate_limits.redis needs the Python package redis on every node: "
            "`make setup` installs it, or `pip install '.[redis]'` in a clone"
        ) from error
    try:
        parse_url(url)
    except ValueError as error:
        # The URL may have a password, so the message does not have the URL.
        raise ConfigError(
            "access.rate_limits.redis is not the URL of a Redis, such as redis://redis:6379/0"
        ) from error


def silence(url: str) -> str:
    """Why the Redis at `url` does not answer within two seconds; empty if it does."""
    import redis

    timeouts = {"socket_timeout": _ANSWER_S, "socket_connect_timeout": _ANSWER_S}
    try:
        with redis.Redis.from_url(url, password=os.environ.get(PASSWORD), **timeouts) as client:
            client.ping()
    except redis.RedisError as error:
        return str(error)
    return ""


def key(client: str) -> str:
    """The key of Redis with a client's counts."""
    return _PREFIX + client


def arguments(request: TakeRequest, now: float | None = None) -> list[Any]:
    """The script's arguments. Tests set the Unix time `now`; otherwise it is Redis's own."""
    limits = request.limits
    return [
        "" if now is None else repr(now),
        "" if limits.per_second is None else repr(limits.per_second),
        limits.capacity,
        "" if limits.per_day is None else limits.per_day,
        repr(request.since),
        request.replica,
        request.used,
        request.ended,
        request.lease,
        request.lease_size,
        token_bucket.LOST_LEASE_S,
        token_bucket.LEASE_SHARE,
        token_bucket.EPSILON,
        *request.costs,
    ]


def decode(answer: list[str]) -> TakeResponse:
    """The script's answer."""
    admitted, leased, elsewhere, *left = answer
    return TakeResponse(
        tuple(flag == "1" for flag in admitted), int(leased), int(elsewhere), *map(float, left)
    )
