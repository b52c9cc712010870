"""The decision about a request: how long a refused one waits, and what is left."""

from __future__ import annotations

import math

import pytest

from pintag.serve.auth import decision
from pintag.serve.auth.decision import LimitStatus
from pintag.serve.auth.limits import RateLimits
from pintag.serve.auth.token_bucket import TakeResponse

FAST = RateLimits(per_second=10, burst=20)
DAILY = RateLimits(per_day=100)
BOTH = RateLimits(per_second=10, burst=20, per_day=100)


def response(burst_left: float = math.inf, day_left: float = math.inf) -> TakeResponse:
    """An answer of the rate limiter an hour before midnight."""
    return TakeResponse((), 0, 0, burst_left, day_left, until_midnight_s=3600.0)


@pytest.mark.parametrize(
    ("limits", "answer", "images", "wait_s"),
    [
        (FAST, response(burst_left=0), 1, 0.1),
        (FAST, response(burst_left=-10), 20, 3.0),
        (DAILY, response(day_left=3), 4, 3600.0),
        (BOTH, response(burst_left=0, day_left=3), 2, 0.2),
        (BOTH, response(burst_left=0, day_left=0), 2, 3600.0),
        # A newer file that another replica has read removed the limit.
        (FAST, response(), 1, 0.001),
    ],
)
def test_a_refused_request_waits_until_both_limits_admit_it(
    limits: RateLimits, answer: TakeResponse, images: int, wait_s: float
) -> None:
    result = decision.decide(limits, answer, 0, admitted=False, images=images)
    assert (result.admitted, result.wait_s) == (False, pytest.approx(wait_s))


def test_the_tokens_of_the_lease_are_left_too() -> None:
    result = decision.decide(BOTH, response(4.5, 90), 3, admitted=True, images=1)
    assert (result.admitted, result.wait_s) == (True, 0.0)
    assert result.statuses == (
        LimitStatus("burst", 20, window_s=2, remaining=7, reset_s=2),
        LimitStatus("day", 100, window_s=86400, remaining=93, reset_s=3600),
    )


def test_what_is_left_is_between_none_and_the_whole_quota() -> None:
    for answer, expected in ((response(-5, -5), (0, 0)), (response(), (20, 100))):
        result = decision.decide(BOTH, answer, 0, admitted=True, images=1)
        assert tuple(status.remaining for status in result.statuses) == expected
