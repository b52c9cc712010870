"""The rate limits as a whole, held to a simple model in random sequences of events.

The model knows neither leases nor replicas: it has one exact bucket and one daily count.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pintag.serve.auth.api_keys import KeyHolder, RateLimits
from pintag.serve.auth.local_quota import LocalQuotas
from pintag.serve.auth.token_bucket import LEASE_S, Grant, RateLimiter, TakeRequest
from tests.serve.auth.conftest import MIDNIGHT, Clock, RedisByScript, SyncTake, client, run

_SMALL = 1e-6
# Without shrinking, which would take minutes: an example is printed as it was found.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
# The tokens of one lease at most: what a replica or a rate limiter that dies can take with it.
_MAX_LEASE = 64


@dataclass
class Model:
    """What the limits mean."""

    limits: RateLimits
    clock: Clock
    level: float = 0.0
    used_today: int = 0
    updated: float = MIDNIGHT
    unknown: int = 0
    """Tokens of leases that died with a replica (they count as used) or with the rate limiter
    (they can be used although nobody counts them)."""
    changed: float = 0.0

    def advance(self) -> None:
        now = self.clock()
        self.level = max(0.0, self.level - (now - self.updated) * (self.limits.per_second or 0))
        if now // 86400 != self.updated // 86400:
            self.used_today = self.unknown = 0
        self.updated = now

    def change(self, limits: RateLimits) -> None:
        """Changed limits apply from the first request after the change."""
        if limits == self.limits:
            return
        self.advance()
        kept = self.limits.per_second and limits.per_second
        self.level = min(self.level, limits.capacity) if kept else 0.0
        self.limits, self.changed = limits, self.clock()

    def restart(self, replicas: int) -> None:
        self.level, self.used_today = 0.0, 0
        self.unknown += replicas * _MAX_LEASE

    def check_admitted(self, images: int) -> None:
        self.advance()
        self.used_today += images
        if self.limits.per_second:
            self.level += images
            assert self.level <= self.limits.capacity + self.unknown + _SMALL
        if self.limits.per_day:
            assert self.used_today <= self.limits.per_day + self.unknown

    def check_refused(self, images: int) -> None:
        """A refusal is right. A lease counts up to LEASE_S late, so the bucket may seem fuller."""
        self.advance()
        if self.limits.per_day and self.used_today + images + self.unknown > self.limits.per_day:
            return
        rate = self.limits.per_second
        assert rate, "refused without a reason"
        just_changed = self.clock() - self.changed < 3
        late = rate * 2 * LEASE_S + self.unknown + 1
        assert just_changed or self.level + images + late > self.limits.capacity


@dataclass
class World:
    """Replicas with one rate limiter, and the model."""

    clock: Clock
    take: SyncTake
    client: KeyHolder
    model: Model
    replicas: list[LocalQuotas] = field(default_factory=list)
    ids: int = 1

    async def call(self, request: TakeRequest) -> Grant:
        await asyncio.sleep(0)
        return self.take(request)

    def add(self) -> None:
        self.replicas.append(LocalQuotas(self.call))

    async def send(self, replica: int, images: int) -> None:
        self.model.change(self.client.limits)
        decision = await self.replicas[replica % len(self.replicas)].admit(self.client, images)
        if decision.admitted:
            self.model.check_admitted(images)
        else:
            assert decision.wait_s > 0
            self.model.check_refused(images)
        for status in decision.statuses:
            assert 0 <= status.remaining <= status.quota

    def read_file(self, limits: RateLimits, new_client: bool = False) -> None:
        """All replicas read a new file of keys."""
        self.clock.seconds += 0.001
        if new_client:
            self.ids += 1
            self.model = Model(limits, self.clock, updated=self.clock())
        self.client = client(limits, self.clock(), f"mine:{self.ids}")


# Small burst and quota are reached often. Large ones have leases.
LIMITS = st.builds(
    lambda rate, burst, day: RateLimits(
        per_second=rate, burst=burst if rate else None, per_day=100 if not rate and not day else day
    ),
    st.none() | st.sampled_from([0.01, 1.0, 50.0, 1000.0]),
    st.none() | st.integers(1, 400),
    st.none() | st.integers(1, 400),
)
STEP = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 3), st.integers(1, 40)),
    st.tuples(st.just("send many"), st.integers(0, 3), st.integers(1, 120)),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.3, 0.6, 5.0, 40_000.0])),
    st.tuples(st.just("limits"), LIMITS),
    st.tuples(st.sampled_from(["rotate", "revoke", "restart", "add", "crash"])),
)


async def play(world: World, steps: list[Any], restart: Any) -> None:
    for name, *values in steps:
        if name == "send":
            await world.send(*values)
        elif name == "send many":
            first, count = values
            for number in range(count):
                await world.send(first + number, 1)
            await asyncio.gather(*(world.send(number, 1) for number in range(count)))
        elif name == "wait":
            await asyncio.sleep(values[0])
        elif name == "limits":
            world.read_file(values[0])
        elif name in ("rotate", "revoke"):
            world.read_file(world.client.limits, new_client=name == "revoke")
        elif name == "restart":
            if restart(world):
                world.model.restart(len(world.replicas))
        elif name == "add":
            world.add()
        elif len(world.replicas) > 1:
            world.replicas.pop()
            world.model.unknown += _MAX_LEASE


def hold_to_the_model(clock: Clock, take: SyncTake, limits: Any, steps: Any, restart: Any) -> None:
    first = client(limits, clock())
    world = World(clock, take, first, Model(limits, clock))
    world.add()
    world.add()
    run(play(world, steps, restart), clock)


@settings(max_examples=150, deadline=None, derandomize=True, phases=_PHASES)
@given(limits=LIMITS, steps=st.lists(STEP, max_size=15))
def test_replicas_hold_the_limits_in_memory(limits: RateLimits, steps: list[Any]) -> None:
    clock = Clock(MIDNIGHT)

    def restart(world: World) -> bool:
        world.take = RateLimiter(clock).take
        return True

    hold_to_the_model(clock, RateLimiter(clock).take, limits, steps, restart)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=_PHASES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(limits=LIMITS, steps=st.lists(STEP, max_size=10))
def test_replicas_hold_the_limits_in_redis(
    redis_client: Any, limits: RateLimits, steps: list[Any]
) -> None:
    clock = Clock(MIDNIGHT)

    def restart(world: World) -> bool:
        """A replica's connection is lost; Redis keeps its counts."""
        redis_client.connection_pool.disconnect()
        return False

    hold_to_the_model(clock, RedisByScript(redis_client, clock).take, limits, steps, restart)


@pytest.mark.parametrize("replicas", [1, 2, 5])
@pytest.mark.parametrize("images", [1, 7])
@pytest.mark.parametrize(
    "limits",
    [RateLimits(per_day=100), RateLimits(per_second=1e-6, burst=100)],
    ids=["day", "burst"],
)
def test_nothing_is_refused_before_the_quota_is_used(
    take: SyncTake, clock: Clock, limits: RateLimits, images: int, replicas: int
) -> None:
    async def call(request: TakeRequest) -> Grant:
        return take(request)

    async def send() -> list[bool]:
        quotas = [LocalQuotas(call) for _ in range(replicas)]
        mine, decisions = client(limits), []
        for number in range(120):
            # One replica gets many requests at once, and so it has a lease when it gets no more.
            quota = quotas[0 if number < 30 // images else -1 - number % max(1, replicas - 1)]
            decisions.append((await quota.admit(mine, images)).admitted)
        return decisions

    whole = 100 // images
    assert run(send(), clock) == [True] * whole + [False] * (120 - whole)
