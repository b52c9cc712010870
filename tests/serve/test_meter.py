"""Token buckets, and what replicas draw of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.keys import Key, Limits
from serve.meter import Allowances, Bucket, Grant, Meter, Standing

NOON = 20_000 * 86400 + 43200.0
FAST = Limits(per_second=10, burst=20)
DAILY = Limits(per_day=5)


class Clock:
    def __init__(self) -> None:
        self.seconds = NOON

    def __call__(self) -> float:
        return self.seconds


def key(limits: Limits, name: str = "mine") -> Key:
    return Key(name=name, sha256="0" * 64, **limits.model_dump())


# Bucket


def test_a_burst_passes_and_then_as_many_as_the_rate_allows() -> None:
    clock = Clock()
    bucket = Bucket(FAST, clock)
    assert bucket.draw(100, FAST).tokens == 20
    empty = bucket.draw(1, FAST)
    assert (empty.tokens, empty.wait) == (0, pytest.approx(0.1))
    clock.seconds += 0.55
    assert bucket.draw(100, FAST).tokens == 5
    clock.seconds += 1000
    assert bucket.draw(100, FAST).tokens == 20


def test_a_days_quota_ends_and_begins_anew_at_midnight() -> None:
    clock = Clock()
    bucket = Bucket(DAILY, clock)
    assert [bucket.draw(3, DAILY).tokens for _ in range(3)] == [3, 2, 0]
    assert bucket.draw(1, DAILY).wait == pytest.approx(43200)
    clock.seconds += 43200
    assert bucket.draw(3, DAILY).tokens == 3


def test_a_client_is_told_where_it_stands() -> None:
    bucket = Bucket(both := Limits(per_second=10, burst=20, per_day=100), Clock())
    assert bucket.draw(5, both).standings == (
        Standing("burst", 20, 2, left=15, reset=1),
        Standing("day", 100, 86400, left=95, reset=43200),
    )


def test_new_limits_hold_at_once_and_what_was_used_stays_used() -> None:
    bucket = Bucket(DAILY, Clock())
    bucket.draw(4, DAILY)
    assert bucket.draw(10, Limits(per_day=7)).tokens == 3


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    clock = Clock()
    bucket = Bucket(FAST, clock)
    bucket.draw(20, FAST)
    clock.seconds -= 1
    assert bucket.draw(1, FAST).tokens == 0


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 40)), max_size=50))
def test_never_more_than_a_burst_and_the_rate(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    bucket = Bucket(FAST, clock)
    given_ = 0
    for pause, most in steps:
        clock.seconds += pause
        given_ += bucket.draw(most, FAST).tokens
        assert given_ <= 20 + 10 * (clock.seconds - NOON) + 1e-6


def test_clients_have_buckets_of_their_own() -> None:
    meter = Meter()
    assert [meter.draw(name, DAILY, 5).tokens for name in ("a", "b", "a")] == [5, 5, 0]


# Allowances


class Drawn:
    """A meter in this process that counts how often it is asked."""

    def __init__(self) -> None:
        self.meter, self.asked = Meter(), 0

    async def __call__(self, name: str, limits: Limits, most: int) -> Grant:
        self.asked += 1
        await asyncio.sleep(0)
        return self.meter.draw(name, limits, most)


def taken(drawn: Any, ask: Callable[[Allowances], Any]) -> Any:
    async def run() -> Any:
        return await ask(Allowances(drawn))

    return asyncio.run(run())


def test_most_requests_ask_nobody() -> None:
    slow = Limits(per_second=0.001, burst=160)
    drawn = Drawn()

    async def ask(allowances: Allowances) -> list[int]:
        return [(await allowances.take(key(slow))).tokens for _ in range(165)]

    assert taken(drawn, ask) == [1] * 160 + [0] * 5
    # Ten at a time, and once in vain: the refused are told by what is known.
    assert drawn.asked == 17


def test_a_crowd_shares_its_answers_and_nobody_passes_twice() -> None:
    slow = Limits(per_second=0.001, burst=16)
    drawn = Drawn()

    async def ask(allowances: Allowances) -> list[Grant]:
        return await asyncio.gather(*(allowances.take(key(slow)) for _ in range(50)))

    found = taken(drawn, ask)
    assert sum(grant.tokens for grant in found) == 16
    assert all(grant.wait > 0 for grant in found if not grant.tokens)


def test_no_limit_asks_nobody() -> None:
    drawn = Drawn()
    assert taken(drawn, lambda allowances: allowances.take(key(Limits()))) == Grant(1)
    assert drawn.asked == 0


def test_a_client_that_leaves_while_it_waits_takes_nothing_from_the_others() -> None:
    slow = Limits(per_second=0.001, burst=1)

    async def ask(allowances: Allowances) -> int:
        leaving = asyncio.ensure_future(allowances.take(key(slow)))
        staying = asyncio.ensure_future(allowances.take(key(slow)))
        await asyncio.sleep(0)
        leaving.cancel()
        return (await staying).tokens

    assert taken(Drawn(), ask) == 1
