"""The limits of a client: their defaults, and what they can ever admit."""

from __future__ import annotations

from pintag.core import config
from pintag.serve.auth.limits import RateLimits


def test_the_burst_defaults_to_two_seconds_of_images() -> None:
    assert RateLimits(per_second=10).capacity == 20
    assert RateLimits(per_second=0.1).capacity == 1
    assert config.parse(RateLimits, {"per_second": 10, "burst": 3}).capacity == 3


def test_a_request_can_never_have_more_images_than_the_smallest_limit() -> None:
    assert RateLimits(per_second=10, per_day=30).max_images == 20
    assert RateLimits(per_second=10, per_day=5).max_images == 5
    assert RateLimits().max_images == float("inf")
