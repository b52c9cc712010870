"""Whether a client may send images now, and how much of its limits is left."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from pintag.serve.auth.limits import RateLimits
from pintag.serve.auth.token_bucket import DAY_S, EPSILON, TakeResponse

_MIN_WAIT_S = 0.001


class LimitStatus(NamedTuple):
    """How much of one limit a client has left."""

    name: str
    quota: int
    """Images that the limit allows in its window."""
    window_s: int
    remaining: int
    reset_s: int
    """Seconds until the whole quota is available again."""


class Decision(NamedTuple):
    """Whether a client may send images now."""

    admitted: bool
    wait_s: float = 0.0
    """Seconds until they would be admitted, if they are not."""
    statuses: tuple[LimitStatus, ...] = ()


def decide(
    limits: RateLimits, response: TakeResponse, lease_left: int, *, admitted: bool, images: int
) -> Decision:
    """The decision about some images of a client.

    Args:
        limits: the client's.
        response: the last answer of the rate limiter.
        lease_left: the tokens of this replica's lease that are not used.
        admitted: whether the images are admitted.
        images: their number.
    """
    burst_left, day_left = response.burst_left + lease_left, response.day_left + lease_left
    statuses = tuple(_statuses(limits, burst_left, day_left, response.until_midnight_s))
    if admitted:
        return Decision(True, statuses=statuses)
    wait_s = _MIN_WAIT_S
    if rate := limits.per_second:
        wait_s = max(wait_s, (images - response.burst_left - lease_left) / rate)
    if images > day_left:
        wait_s = max(wait_s, response.until_midnight_s)
    return Decision(False, wait_s, statuses)


def _statuses(
    limits: RateLimits, burst_left: float, day_left: float, until_midnight_s: float
) -> Iterator[LimitStatus]:
    # More than a limit can be left, even an infinite number, if a newer file that another replica
    # has read raised or removed the limit.
    if rate := limits.per_second:
        capacity = limits.capacity
        left = min(capacity, burst_left)
        window_s, reset_s = math.ceil(capacity / rate), math.ceil((capacity - left) / rate)
        yield LimitStatus("burst", capacity, window_s, _whole(left), reset_s)
    if quota := limits.per_day:
        left = min(quota, day_left)
        yield LimitStatus("day", quota, DAY_S, _whole(left), math.ceil(until_midnight_s))


def _whole(tokens: float) -> int:
    return max(0, math.floor(tokens + EPSILON))
