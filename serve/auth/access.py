"""Checks who may use a server, and what counts their requests, before it starts."""

from __future__ import annotations

import contextlib
import ipaddress

from pintag.core.errors import ServerError
from pintag.serve.auth import api_keys, redis_limiter
from pintag.serve.config import ServeConfig


def check(config: ServeConfig) -> None:
    """Refuse an address that other machines can reach without API keys, unless it is allowed.

    Raises:
        ServerError: other machines can reach the server, and it has no keys.
        ConfigError: the file of keys is wrong, or Redis cannot be used.
    """
    if config.access.keys is not None:
        api_keys.load(config.access.keys)
        if config.access.rate_limits.redis is not None:
            redis_limiter.check(config.access.rate_limits.redis)
    elif not config.access.allow_anonymous and not _is_loopback(config.http.host):
        raise ServerError(
            f"http.host={config.http.host} can be reached from other machines, and no API keys are "
            "required: set access.keys=FILE (`pintag key` writes it), or access.allow_anonymous="
            "true to answer everybody"
        )


def silent_redis(config: ServeConfig) -> str:
    """Why the Redis that counts requests does not answer; empty if it does, or there is none.

    A server starts without it: the setting `when_unavailable` decides what happens meanwhile.
    """
    url = config.access.rate_limits.redis
    if config.access.keys is None or url is None:
        return ""
    if not (reason := redis_limiter.silence(url)):
        return ""
    is_closed = config.access.rate_limits.when_unavailable == "closed"
    happens = "get status 503" if is_closed else "are admitted without a limit"
    return (
        f"access.rate_limits.redis does not answer, so requests with limited keys {happens}: "
        f"{reason}"
    )


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
