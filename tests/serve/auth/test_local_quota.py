"""A replica's leased tokens: calls to the rate limiter, concurrency, and failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pintag.serve.auth.decision import Decision, LimitStatus
from pintag.serve.auth.limits import RateLimits
from pintag.serve.auth.local_quota import LocalQuotas
from pintag.serve.auth.token_bucket import LEASE_S, RateLimiter, TakeRequest, TakeResponse
from pintag.serve.errors import RateLimiterUnavailableError
from tests.serve.auth.conftest import MIDNIGHT, NOON, Clock, client, run

SLOW = RateLimits(per_second=0.001, burst=160)
MINE = client(SLOW)


class CountedLimiter:
    """A rate limiter in this process that counts its calls, and fails `failures` times."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.limiter = clock, RateLimiter(clock)
        self.requests: list[TakeRequest] = []
        self.failures = 0

    async def __call__(self, request: TakeRequest) -> TakeResponse:
        self.requests.append(request)
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise RateLimiterUnavailableError("no answer")
        return self.limiter.take(request)


@pytest.fixture
def limiter(clock: Clock) -> CountedLimiter:
    return CountedLimiter(clock)


def do(limiter: CountedLimiter, requests: Callable[[LocalQuotas], Awaitable[Any]]) -> Any:
    """The result of `requests`, which gets a replica's quotas, in virtual time."""

    async def main() -> Any:
        return await requests(LocalQuotas(limiter))

    return run(main(), limiter.clock)


def test_most_requests_need_no_call_to_the_rate_limiter(limiter: CountedLimiter) -> None:
    async def requests(quotas: LocalQuotas) -> list[bool]:
        return [(await quotas.admit(MINE)).admitted for _ in range(165)]

    assert do(limiter, requests) == [True] * 160 + [False] * 5
    # Leases grow to 1/8 of what is left, and shrink with it. The last requests have no lease.
    assert len(limiter.requests) < 50


def test_a_client_with_few_requests_leases_nothing(limiter: CountedLimiter) -> None:
    async def requests(quotas: LocalQuotas) -> None:
        for _ in range(5):
            await quotas.admit(MINE)
            await asyncio.sleep(1)

    do(limiter, requests)
    assert [(request.costs, request.lease_size) for request in limiter.requests] == [((1,), 0)] * 5


def test_tokens_that_are_left_come_back_at_the_end_of_a_lease(limiter: CountedLimiter) -> None:
    async def requests(quotas: LocalQuotas) -> None:
        for _ in range(12):
            await quotas.admit(MINE)
        await asyncio.sleep(2 * LEASE_S)

    do(limiter, requests)
    assert limiter.requests[-1].costs == ()
    assert limiter.limiter.take(TakeRequest("mine:1", SLOW, 0.0)).burst_left == pytest.approx(
        148, abs=0.01
    )


def test_a_lease_ends_at_midnight(limiter: CountedLimiter) -> None:
    limiter.clock.seconds = MIDNIGHT - 0.1
    mine = client(RateLimits(per_day=100))

    async def requests(quotas: LocalQuotas) -> None:
        for _ in range(12):
            await quotas.admit(mine)
        await asyncio.sleep(0.2)
        await quotas.admit(mine)

    do(limiter, requests)
    response = limiter.limiter.take(TakeRequest("mine:1", mine.limits, 0.0))
    assert response.day_left + response.leased_elsewhere == 99


# If a request blocked the event loop, these tests would never end.
@pytest.mark.timeout(60)
@pytest.mark.parametrize("images", [1, 3])
def test_concurrent_requests_at_any_step_of_a_call_never_block_the_event_loop(
    limiter: CountedLimiter, images: int
) -> None:
    async def request(quotas: LocalQuotas, steps: int) -> int:
        for _ in range(steps):
            await asyncio.sleep(0)
        return images * (await quotas.admit(MINE, images)).admitted

    async def requests(quotas: LocalQuotas) -> list[int]:
        return await asyncio.gather(*(request(quotas, number % 50) for number in range(400)))

    assert sum(do(limiter, requests)) == 160 // images * images


@pytest.mark.timeout(60)
def test_a_client_within_its_limits_is_answered_for_ever(limiter: CountedLimiter) -> None:
    """30 requests a second of 50, 16 at once."""
    mine = client(RateLimits(per_second=50))

    async def worker(quotas: LocalQuotas) -> int:
        admitted = 0
        for _ in range(60):
            admitted += (await quotas.admit(mine)).admitted
            await asyncio.sleep(16 / 30)
        return admitted

    async def requests(quotas: LocalQuotas) -> list[int]:
        return await asyncio.gather(*(worker(quotas) for _ in range(16)))

    assert do(limiter, requests) == [60] * 16


def test_concurrent_requests_share_a_call(limiter: CountedLimiter) -> None:
    async def requests(quotas: LocalQuotas) -> list[Decision]:
        return await asyncio.gather(*(quotas.admit(MINE) for _ in range(50)))

    decisions = do(limiter, requests)
    assert all(decision.admitted for decision in decisions)
    assert len(limiter.requests) <= 2


def test_a_client_that_reached_its_limit_is_refused_without_a_call(limiter: CountedLimiter) -> None:
    async def requests(quotas: LocalQuotas) -> list[Decision]:
        await quotas.admit(MINE, 160)
        return [await quotas.admit(MINE) for _ in range(100)]

    decisions = do(limiter, requests)
    assert not any(decision.admitted for decision in decisions)
    assert decisions[-1].wait_s == pytest.approx(1000)
    assert len(limiter.requests) == 2


def test_a_raised_limit_counts_at_once(limiter: CountedLimiter) -> None:
    async def requests(quotas: LocalQuotas) -> list[bool]:
        used = await quotas.admit(client(RateLimits(per_day=2)), 2)
        refused = await quotas.admit(client(RateLimits(per_day=2)))
        raised = client(RateLimits(per_day=3), since=NOON)
        more = [await quotas.admit(raised), await quotas.admit(raised)]
        return [decision.admitted for decision in (used, refused, *more)]

    assert do(limiter, requests) == [True, False, True, False]


def test_a_new_key_of_a_client_continues_with_its_counts(limiter: CountedLimiter) -> None:
    limits = RateLimits(per_day=5)

    async def requests(quotas: LocalQuotas) -> list[bool]:
        clients = [client(limits, since=since) for since in (1.0, 2.0)]
        clients.append(client(limits, since=3.0, identity="mine:2"))
        return [(await quotas.admit(each, 4)).admitted for each in clients]

    assert do(limiter, requests) == [True, False, True]


def test_a_decision_has_the_status_of_each_limit_after_it(limiter: CountedLimiter) -> None:
    mine = client(RateLimits(per_second=10, burst=160, per_day=1000))

    async def requests(quotas: LocalQuotas) -> list[tuple[int, ...]]:
        first = await quotas.admit(mine, 5)
        assert first.statuses == (
            LimitStatus("burst", 160, 16, remaining=155, reset_s=1),
            LimitStatus("day", 1000, 86400, remaining=995, reset_s=43200),
        )
        later = [await quotas.admit(mine) for _ in range(20)]
        return [tuple(status.remaining for status in decision.statuses) for decision in later]

    assert do(limiter, requests) == [(155 - used, 995 - used) for used in range(1, 21)]


def test_a_key_without_limits_needs_no_call(limiter: CountedLimiter) -> None:
    unlimited = client(RateLimits())
    assert do(limiter, lambda quotas: quotas.admit(unlimited, 1000)) == Decision(True)
    assert limiter.requests == []


def test_a_client_that_disconnects_does_not_cancel_the_call_for_others(
    limiter: CountedLimiter,
) -> None:
    async def requests(quotas: LocalQuotas) -> bool:
        leaving = asyncio.ensure_future(quotas.admit(MINE))
        staying = asyncio.ensure_future(quotas.admit(MINE))
        await asyncio.sleep(0)
        leaving.cancel()
        return (await staying).admitted

    assert do(limiter, requests)


@pytest.mark.parametrize("fail_open", [False, True])
def test_requests_fail_or_are_admitted_while_the_rate_limiter_is_away(
    limiter: CountedLimiter, fail_open: bool
) -> None:
    limiter.failures = 1

    async def main() -> list[Any]:
        quotas = LocalQuotas(limiter, fail_open)
        at_once = (quotas.admit(MINE) for _ in range(3))
        failed = await asyncio.gather(*at_once, return_exceptions=True)
        return [*failed, await quotas.admit(MINE, 160)]

    *during, after = run(main(), limiter.clock)
    if fail_open:
        assert during == [Decision(True)] * 3
    else:
        assert [type(error) for error in during] == [RateLimiterUnavailableError] * 3
    assert after.admitted


def test_requests_wait_for_tokens_that_another_replica_may_give_back(
    limiter: CountedLimiter,
) -> None:
    mine = client(RateLimits(per_day=100))

    async def main() -> list[bool]:
        first, second = LocalQuotas(limiter), LocalQuotas(limiter)
        for _ in range(5):
            await first.admit(mine)
        left = 95
        return [(await second.admit(mine)).admitted for _ in range(left + 1)]

    assert run(main(), limiter.clock) == [True] * 95 + [False]


def test_tokens_of_a_replica_that_died_are_not_waited_for_for_ever(limiter: CountedLimiter) -> None:
    limits = RateLimits(per_day=100)
    limiter.limiter.take(TakeRequest("mine:1", limits, 0.0, (), "dead", 0, 0, 1, 6))
    decisions = do(limiter, lambda quotas: quotas.admit(client(limits), 95))
    assert not decisions.admitted


@pytest.mark.parametrize(
    ("newer", "left"),
    [
        (RateLimits(per_day=1000), {"burst": 20, "day": 100}),
        (RateLimits(per_second=10), {"burst": 20, "day": 100}),
        (RateLimits(per_second=1000), {"burst": 20, "day": 100}),
    ],
    ids=["rate removed", "day removed", "burst raised"],
)
def test_a_replica_that_has_not_read_a_newer_file_answers(
    limiter: CountedLimiter, newer: RateLimits, left: dict[str, int]
) -> None:
    """Another replica has read it, and so the limits of this one no longer apply."""
    old = client(RateLimits(per_second=10, per_day=100), since=NOON - 2)

    async def requests(quotas: LocalQuotas) -> Decision:
        await LocalQuotas(limiter).admit(client(newer, since=NOON - 1))
        return await quotas.admit(old)

    decision: Decision = do(limiter, requests)
    assert decision.admitted
    assert {status.name: status.remaining for status in decision.statuses} == pytest.approx(
        left, abs=2
    )


def test_a_request_fails_if_its_answer_cannot_be_computed(limiter: CountedLimiter) -> None:
    """It must not wait for ever."""

    async def call(request: TakeRequest) -> TakeResponse:
        response = await limiter(request)
        return response._replace(admitted=())

    async def requests(quotas: LocalQuotas) -> list[Any]:
        quotas = LocalQuotas(call)
        return await asyncio.gather(*(quotas.admit(MINE) for _ in range(3)), return_exceptions=True)

    assert [type(result) for result in do(limiter, requests)] == [ValueError] * 3
