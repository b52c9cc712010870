"""The counts of the rate limiter, in memory and in Redis: both give the same answers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pintag.serve.auth.limits import RateLimits
from pintag.serve.auth.token_bucket import LOST_LEASE_S, RateLimiter, TakeRequest, TakeResponse
from tests.serve.auth.conftest import MIDNIGHT, NOON, Clock, RedisByScript, SyncTake

FAST = RateLimits(per_second=10, burst=20)
DAILY = RateLimits(per_day=5)


def asking(
    *costs: int, limits: RateLimits = FAST, since: float = NOON, **values: Any
) -> TakeRequest:
    return TakeRequest(values.pop("client", "mine"), limits, since, costs, **values)


def admitted(response: TakeResponse) -> int:
    return sum(response.admitted)


def test_a_bucket_gives_a_burst_and_then_tokens_at_its_rate(take: SyncTake, clock: Clock) -> None:
    assert admitted(take(asking(*[1] * 100))) == 20
    clock.seconds += 0.55
    response = take(asking(*[1] * 100))
    assert (admitted(response), response.burst_left) == (5, pytest.approx(0.5))
    clock.seconds += 1000
    assert admitted(take(asking(*[1] * 100))) == 20


def test_each_request_is_admitted_as_a_whole_or_not_at_all(take: SyncTake) -> None:
    response = take(asking(15, 6, 5, 1))
    assert response.admitted == (True, False, True, False)
    assert response.burst_left == 0


def test_a_daily_quota_is_reset_at_midnight(take: SyncTake, clock: Clock) -> None:
    response = take(asking(3, 3, 2, 1, limits=DAILY))
    assert response.admitted == (True, False, True, False)
    assert (response.day_left, response.burst_left, response.until_midnight_s) == (
        0,
        math.inf,
        43200,
    )
    clock.seconds += 43200
    assert take(asking(5, limits=DAILY)).admitted == (True,)


def test_each_client_has_its_own_counts(take: SyncTake) -> None:
    responses = [take(asking(5, limits=DAILY, client=name)) for name in ("a", "b", "a")]
    assert [admitted(response) for response in responses] == [1, 1, 0]


@pytest.mark.parametrize("seconds", [1, 86400])
def test_a_clock_that_goes_back_gives_nothing(take: SyncTake, clock: Clock, seconds: int) -> None:
    both = RateLimits(per_second=10, burst=20, per_day=20)
    take(asking(20, limits=both))
    clock.seconds -= seconds
    response = take(asking(1, limits=both))
    assert (response.admitted, response.burst_left, response.day_left) == ((False,), 0, 0)


# Changed limits


def test_a_rate_that_is_added_starts_with_a_full_bucket_and_neither_credit_nor_debt(
    take: SyncTake, clock: Clock
) -> None:
    take(asking(*[1] * 100, limits=RateLimits(per_day=100)))
    clock.seconds += 43200
    added = RateLimits(per_second=1, burst=2, per_day=100)
    assert admitted(take(asking(*[1] * 50, limits=added, since=clock()))) == 2


def test_used_tokens_stay_used_and_a_raised_limit_counts_at_once(take: SyncTake) -> None:
    take(asking(20))
    raised = take(asking(25, limits=RateLimits(per_second=10, burst=40), since=NOON))
    assert (raised.admitted, raised.burst_left) == ((False,), 20)
    take(asking(4, limits=DAILY, client="daily"))
    more = RateLimits(per_day=7)
    assert take(asking(3, 1, limits=more, client="daily")).admitted == (True, False)


def test_a_lowered_limit_leaves_no_debt_above_an_empty_bucket(take: SyncTake, clock: Clock) -> None:
    take(asking(200, limits=RateLimits(per_second=100)))
    lowered = RateLimits(per_second=1, burst=2)
    assert take(asking(1, limits=lowered)).admitted == (False,)
    clock.seconds += 1
    assert take(asking(1, limits=lowered)).admitted == (True,)


def test_replicas_that_have_not_read_the_new_file_do_not_bring_back_the_old_limits(
    take: SyncTake,
) -> None:
    old, new = RateLimits(per_second=100), RateLimits(per_second=1, burst=2)
    take(asking(150, limits=old, since=NOON - 10))
    total = 0
    for _ in range(10):
        total += admitted(take(asking(1, limits=new, since=NOON - 1)))
        total += admitted(take(asking(1, limits=old, since=NOON - 10)))
    assert total == 0


def test_a_file_that_was_read_in_the_future_does_not_rule_for_ever(
    take: SyncTake, clock: Clock
) -> None:
    take(asking(1, limits=DAILY, since=NOON + 10**9))
    clock.seconds += 1
    response = take(asking(1, limits=RateLimits(per_day=100), since=clock()))
    assert response.day_left == 98


# Leases


def test_leases_shrink_as_the_quota_runs_out(take: SyncTake) -> None:
    limits, sizes = RateLimits(per_day=100), []
    for number in range(1, 30):
        response = take(
            asking(
                1, limits=limits, replica="a", lease=number, lease_size=64,
                ended=number - 1, used=sizes[-1] if sizes else 0,
            )
        )  # fmt: skip
        sizes.append(response.leased)
    assert sizes[0] == 12
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0


def test_tokens_of_a_lease_that_were_not_used_come_back(take: SyncTake) -> None:
    limits = RateLimits(per_second=0.001, burst=160, per_day=160)
    lent = take(asking(limits=limits, replica="a", lease=1, lease_size=8))
    assert (lent.leased, lent.burst_left, lent.day_left) == (8, 152, 152)
    other = take(asking(limits=limits, replica="b"))
    assert (other.leased_elsewhere, other.burst_left) == (8, 152)
    back = take(asking(limits=limits, replica="a", ended=1, used=3))
    assert (back.burst_left, back.day_left) == (157, 157)


def test_a_lease_of_a_replica_that_died_counts_as_used(take: SyncTake, clock: Clock) -> None:
    limits = RateLimits(per_day=160)
    take(asking(limits=limits, replica="a", lease=1, lease_size=8))
    clock.seconds += LOST_LEASE_S
    response = take(asking(limits=limits, replica="b"))
    assert (response.leased_elsewhere, response.day_left) == (0, 152)
    late = take(asking(limits=limits, replica="a", ended=1, used=0))
    assert late.day_left == 152


def test_a_lease_whose_answer_was_lost_counts_as_used(take: SyncTake) -> None:
    limits = RateLimits(per_day=160)
    take(asking(limits=limits, replica="a", lease=1, lease_size=8))
    assert take(asking(limits=limits, replica="a", ended=0)).day_left == 152


def test_a_lease_that_the_limiter_forgot_gives_no_credit(take: SyncTake) -> None:
    limits = RateLimits(per_day=160)
    take(asking(1, limits=limits, replica="b"))
    assert take(asking(limits=limits, replica="a", ended=7, used=0)).day_left == 159


def test_a_lease_of_yesterday_does_not_count_for_today(take: SyncTake, clock: Clock) -> None:
    clock.seconds = MIDNIGHT - 0.1
    limits = RateLimits(per_day=160)
    take(asking(limits=limits, replica="a", lease=1, lease_size=8, since=MIDNIGHT - 9))
    clock.seconds = MIDNIGHT + 0.1
    response = take(asking(limits=limits, replica="a", ended=1, used=8, since=MIDNIGHT - 9))
    assert response.day_left == 160


# Both rate limiters

LIMITS = st.builds(
    lambda per_second, burst, per_day: RateLimits(
        per_second=per_second, burst=burst if per_second else None, per_day=per_day
    ),
    st.none() | st.floats(0.01, 1000),
    st.none() | st.integers(1, 2000),
    st.none() | st.integers(1, 2000),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.3, 3.0, 50_000.0]),
        LIMITS,
        st.lists(st.integers(1, 300), max_size=4),
        st.sampled_from("ab"),
        st.integers(0, 70),
        st.floats(-5, 5),
    ),
    max_size=12,
)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_memory_and_redis_give_the_same_answers(redis_client: Any, steps: list[Any]) -> None:
    clock = Clock()
    memory, redis = RateLimiter(clock).take, RedisByScript(redis_client, clock).take
    numbers = {"a": 0, "b": 0}
    for pause, limits, costs, replica, size, age in steps:
        clock.seconds += pause
        ended = numbers[replica]
        numbers[replica] += 1
        request = asking(
            *costs, limits=limits, since=clock() - age, replica=replica, used=size // 2,
            ended=ended, lease=numbers[replica], lease_size=size,
        )  # fmt: skip
        assert memory(request) == redis(request)
