"""The rate limits as a whole, held to a simple model in random sequences of events.

The model knows neither leases nor replicas: it has one exact bucket and one daily count.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pintag.serve.auth.api_keys import KeyHolder
from pintag.serve.auth.limits import RateLimits
from pintag.serve.auth.local_quota import LocalQuotas
from pintag.serve.auth.token_bucket import (
    LEASE_S,
    LEASE_SHARE,
    RateLimiter,
    TakeRequest,
    TakeResponse,
)
from tests.serve.auth.conftest import (
    MIDNIGHT,
    Clock,
    RedisByScript,
    RedisServer,
    SyncTake,
    client,
    run,
)

_SMALL = 1e-6
# The tokens of one lease at most: what a replica or a rate limiter that dies can take with it.
_MAX_LEASE = 64


@dataclass
class Model:
    """What the limits of one client mean. It sees each call to the rate limiter, and each request
    that a replica admits without a call."""

    limits: RateLimits
    since: float
    clock: Clock
    level: float = 0.0
    most: float = 0.0
    """The level with the tokens of leases from before the last change: they may be charged yet."""
    used_today: int = 0
    updated: float = MIDNIGHT
    unknown: int = 0
    """Tokens of leases that died with a replica (they count as used) or with the rate limiter
    (they can be used although nobody counts them)."""
    stale: int = 0
    """Tokens of leases of the last limits, for as long as they can last."""
    changed: float = -math.inf
    changes: int = 0

    def advance(self) -> None:
        now = self.clock()
        refilled = (now - self.updated) * (self.limits.per_second or 0)
        self.level = max(0.0, self.level - refilled)
        self.most = max(self.level, self.most - refilled)
        if now // 86400 != self.updated // 86400:
            self.used_today = self.unknown = 0
        if now > self.changed + LEASE_S:
            self.stale = 0
        self.updated = now

    def adopt(self, limits: RateLimits, since: float, replicas: int) -> None:
        """Changed limits apply from the first call of a replica that has read them."""
        self.advance()
        if since < self.since:
            return
        self.since = since
        if limits == self.limits:
            return
        kept = self.limits.per_second and limits.per_second
        self.level = min(self.level, limits.capacity) if kept else 0.0
        leased = replicas * min(_MAX_LEASE, int(self.limits.max_images) // LEASE_SHARE)
        self.most = min(self.level + leased, limits.capacity)
        self.stale += leased
        self.limits, self.changed = limits, self.clock()
        self.changes += 1

    def restart(self, replicas: int) -> None:
        self.level, self.most, self.used_today = 0.0, 0.0, 0
        self.unknown += replicas * _MAX_LEASE
        self.changed = self.clock()
        self.changes += 1

    def admit(self, images: int, stale: bool = False) -> None:
        """Check that a request may be admitted; `stale`: with a lease of earlier limits."""
        self.advance()
        self.used_today += images
        more = self.unknown + (self.stale if stale else 0)
        if self.limits.per_second:
            self.level += images
            assert self.level <= self.limits.capacity + more + _SMALL
            # A lease of earlier limits leaves no debt above a full bucket.
            self.level = min(self.level, self.limits.capacity + self.unknown)
            self.most = max(self.level, min(self.most + images, self.limits.capacity))
        if self.limits.per_day:
            assert self.used_today <= self.limits.per_day + more or (stale and more)

    def refuse(self, images: int) -> None:
        """Check that a request may be refused.

        A lease counts up to LEASE_S late, so the bucket may seem fuller.
        """
        self.advance()
        if self.limits.per_day and self.used_today + images + self.unknown > self.limits.per_day:
            return
        rate = self.limits.per_second
        assert rate, "refused without a reason"
        late = rate * 2 * LEASE_S + self.unknown + 1
        assert self.most + images + late > self.limits.capacity


@dataclass
class Replica:
    """One replica, and the file that it has read."""

    quotas: LocalQuotas
    client: KeyHolder
    calls: int = 0
    seen: int = -1
    """The number of changes that its last call has seen."""
    applied: RateLimits | None = None
    """The limits of the last request."""


@dataclass
class World:
    """Replicas with one rate limiter, the newest file, and a model of each client."""

    clock: Clock
    take: SyncTake
    newest: KeyHolder
    models: dict[str, Model] = field(default_factory=dict)
    replicas: list[Replica] = field(default_factory=list)
    ids: int = 1
    sent: int = 0

    def add(self) -> None:
        async def call(request: TakeRequest) -> TakeResponse:
            await asyncio.sleep(0)
            return self.ask(replica, request)

        replica = Replica(LocalQuotas(call), self.newest)
        self.replicas.append(replica)

    def ask(self, replica: Replica, request: TakeRequest) -> TakeResponse:
        """Call the rate limiter, and hold its answer to the model."""
        model = self.model(request.client, request.limits, request.since)
        model.adopt(request.limits, request.since, len(self.replicas))
        response = self.take(request)
        replica.calls, replica.seen = replica.calls + 1, model.changes
        for images, admitted in zip(request.costs, response.admitted, strict=True):
            if admitted:
                model.admit(images)
        return response

    def model(self, client: str, limits: RateLimits, since: float) -> Model:
        new = Model(limits, since, self.clock, updated=self.clock())
        return self.models.setdefault(client, new)

    async def send(self, number: int, images: int) -> None:
        replica = self.replicas[number % len(self.replicas)]
        mine, calls = replica.client, replica.calls
        self.sent += 1
        decision = await replica.quotas.admit(mine, images)
        model = self.models[mine.id]
        called = replica.calls > calls
        if mine.limits != replica.applied:
            assert model.since >= mine.since, "changed limits apply from the first request"
        replica.applied = mine.limits
        if decision.admitted and not called:
            model.admit(images, stale=True)
        elif not decision.admitted:
            assert decision.wait_s > 0
            # Without a call of its own, a refusal is up to a second old.
            is_of_now = (
                replica.seen == model.changes if called else self.clock() > model.changed + 1
            )
            if is_of_now:
                model.refuse(images)
        for status in decision.statuses:
            assert 0 <= status.remaining <= status.quota

    def write_file(self, limits: RateLimits, new_client: bool = False) -> None:
        """Write a new file of keys, which no replica has read yet."""
        self.clock.seconds += 0.001
        self.ids += new_client
        self.newest = client(limits, self.clock(), f"mine:{self.ids}")

    def read_file(self, number: int) -> None:
        self.replicas[number % len(self.replicas)].client = self.newest

    def crash(self) -> None:
        """A replica dies with its lease."""
        if len(self.replicas) > 1:
            self.replicas.pop()
            for model in self.models.values():
                model.unknown += _MAX_LEASE


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
    st.tuples(st.just("read"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["rotate", "revoke", "restart", "add", "crash"])),
)


async def play(world: World, steps: list[Any], restart: Callable[[World], None]) -> None:
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
            world.write_file(values[0])
        elif name == "read":
            world.read_file(values[0])
        elif name in ("rotate", "revoke"):
            world.write_file(world.newest.limits, new_client=name == "revoke")
        elif name == "restart":
            restart(world)
        elif name == "add":
            world.add()
        else:
            world.crash()


def hold_to_the_model(
    clock: Clock,
    take: SyncTake,
    limits: RateLimits,
    steps: list[Any],
    restart: Callable[[World], None],
) -> None:
    world = World(clock, take, client(limits, clock()))
    world.add()
    world.add()
    run(play(world, steps, restart), clock)


def sequences(number: int) -> settings:
    """The same sequences in every run; with PINTAG_TEST_SEQUENCES so many new ones."""
    chosen = os.environ.get("PINTAG_TEST_SEQUENCES")
    return settings(
        max_examples=int(chosen or number),
        derandomize=chosen is None,
        deadline=None,
        # Without shrinking, which would take minutes: an example is printed as it was found.
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@sequences(150)
@given(limits=LIMITS, steps=st.lists(STEP, max_size=20))
def test_replicas_hold_the_limits_in_memory(limits: RateLimits, steps: list[Any]) -> None:
    clock = Clock(MIDNIGHT)

    def restart(world: World) -> None:
        """The actor begins with no counts."""
        world.take = RateLimiter(clock).take
        for model in world.models.values():
            model.restart(len(world.replicas))

    hold_to_the_model(clock, RateLimiter(clock).take, limits, steps, restart)


@sequences(40)
@given(limits=LIMITS, steps=st.lists(STEP, max_size=12))
def test_replicas_hold_the_limits_in_redis(
    redis_server: RedisServer, redis_client: Any, limits: RateLimits, steps: list[Any]
) -> None:
    """Redis is killed and started again: it has kept all counts."""
    clock = Clock(MIDNIGHT)

    def restart(world: World) -> None:
        redis_server.restart()
        redis_client.connection_pool.disconnect()

    hold_to_the_model(clock, RedisByScript(redis_client, clock).take, limits, steps, restart)


def test_a_redis_that_was_killed_has_its_counts(
    redis_server: RedisServer, redis_client: Any, clock: Clock
) -> None:
    take = RedisByScript(redis_client, clock).take
    request = TakeRequest("mine:1", RateLimits(per_day=5), 0.0, (1, 1))
    assert take(request).day_left == 3
    redis_server.restart()
    redis_client.connection_pool.disconnect()
    assert take(request).day_left == 1


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
    async def call(request: TakeRequest) -> TakeResponse:
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
