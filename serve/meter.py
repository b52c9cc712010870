"""How many requests a client may make: token buckets, kept in one place for all replicas.

A replica draws a few tokens at a time, so that most requests ask nobody. What replicas hold comes
on top: a burst may be longer by a sixteenth for each of them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from serve.keys import Key, Limits
from serve.problems import log

_NAME, _NAMESPACE = "meter", "pintag"
_DAY = 86400
# A replica that hears nothing for so long lets requests through.
_PATIENCE = 1.0


@dataclass(frozen=True)
class Standing:
    """Where a client stands with one limit."""

    limit: str
    quota: int
    """Requests that the limit allows in its window."""
    window: int
    """Seconds."""
    left: int
    reset: int
    """Seconds until all of the quota is there again."""


@dataclass(frozen=True)
class Grant:
    """What a client may do now."""

    tokens: int
    """Requests; none where a limit is reached."""
    wait: float = 0.0
    """Seconds until there is another one, if there is none."""
    standings: tuple[Standing, ...] = ()


@dataclass
class Bucket:
    """One client's tokens, and what is left of its day."""

    limits: Limits
    now: Callable[[], float] = time.time
    _tokens: float = field(init=False)
    _at: float = field(init=False)
    _day: int = field(init=False)
    _used: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._tokens, self._at = self.limits.capacity, self.now()
        self._day = int(self._at // _DAY)

    def draw(self, most: int, limits: Limits) -> Grant:
        """At most so many requests, by the limits as they are now."""
        self._pass(limits)
        given = min(most, self._whole(), self._left_today())
        self._tokens -= given
        self._used += given
        return Grant(given, 0.0 if given else self._wait(), self._standings())

    def _pass(self, limits: Limits) -> None:
        """Time goes by."""
        now = self.now()
        rate = limits.per_second or 0
        self._tokens = min(limits.capacity, self._tokens + max(0.0, now - self._at) * rate)
        self._at, self.limits = now, limits
        if (day := int(now // _DAY)) != self._day:
            self._day, self._used = day, 0

    def _whole(self) -> int:
        return int(self._tokens) if self.limits.per_second else 2**31

    def _left_today(self) -> int:
        most = self.limits.per_day
        return 2**31 if most is None else max(0, most - self._used)

    def _wait(self) -> float:
        if not self._left_today():
            return self._midnight()
        return (1 - self._tokens) / (self.limits.per_second or 1)

    def _midnight(self) -> float:
        return (self._day + 1) * _DAY - self._at

    def _standings(self) -> tuple[Standing, ...]:
        found = []
        if rate := self.limits.per_second:
            full = self.limits.capacity
            reset = math.ceil((full - self._tokens) / rate)
            found.append(Standing("burst", full, math.ceil(full / rate), int(self._tokens), reset))
        if (most := self.limits.per_day) is not None:
            reset = math.ceil(self._midnight())
            found.append(Standing("day", most, _DAY, self._left_today(), reset))
        return tuple(found)


class Meter:
    """The buckets of all clients; an actor of Ray's. It forgets them when it is lost."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def draw(self, name: str, limits: Limits, most: int) -> Grant:
        """At most so many requests of one client."""
        bucket = self._buckets.setdefault(name, Bucket(limits))
        return bucket.draw(most, limits)


Draw = Callable[[str, Limits, int], Awaitable[Grant]]


class Allowances:
    """What a replica has drawn for its clients."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._clients: dict[str, _Allowance] = {}

    async def take(self, key: Key) -> Grant:
        """One request of a client: one token, or none."""
        if not key.is_limited:
            return Grant(1)
        allowance = self._clients.setdefault(key.name, _Allowance(key.name, self._draw))
        return await allowance.take(key)


class _Allowance:
    def __init__(self, name: str, draw: Draw) -> None:
        self._name, self._draw = name, draw
        self._tokens = 0
        self._last = Grant(0)
        self._refused_until = 0.0
        self._drawing: asyncio.Future[Grant] | None = None

    async def take(self, key: Key) -> Grant:
        while not self._tokens:
            wait = self._refused_until - time.monotonic()
            if wait > 0:
                return Grant(0, wait, self._last.standings)
            await self._more(key)
        self._tokens -= 1
        return Grant(1, 0.0, self._last.standings)

    async def _more(self, key: Key) -> None:
        # Whoever comes meanwhile waits for the same answer.
        if self._drawing is None:
            most = max(1, key.capacity // 16) if key.per_second else 64
            self._drawing = asyncio.ensure_future(self._draw(self._name, key.limits, most))
            self._drawing.add_done_callback(self._drawn)
        await asyncio.shield(self._drawing)

    def _drawn(self, done: asyncio.Future[Grant]) -> None:
        self._drawing = None
        self._last = done.result()
        self._tokens += self._last.tokens
        if not self._last.tokens:
            self._refused_until = time.monotonic() + max(self._last.wait, 0.001)


class Connection:
    """To the one meter of a cluster, which the first replica starts."""

    def __init__(self) -> None:
        self._actor: Any = None

    async def draw(self, name: str, limits: Limits, most: int) -> Grant:
        """See `Meter.draw`. Without an answer, requests pass: tags matter more than counts."""
        from ray.exceptions import RayError

        try:
            if self._actor is None:
                self._actor = await asyncio.get_running_loop().run_in_executor(None, _actor)
            asked = self._actor.draw.remote(name, limits, most)
            found: Grant = await asyncio.wait_for(asked, _PATIENCE)
        except (RayError, TimeoutError, ValueError) as error:
            log.error("no answer of the meter, so requests pass: %r", error)
            self._actor = None
            return Grant(most)
        return found


def _actor() -> Any:
    import ray

    named = {"name": _NAME, "namespace": _NAMESPACE, "get_if_exists": True}
    # It outlives the replica that started it.
    options = {**named, "lifetime": "detached", "num_cpus": 0, "max_restarts": -1}
    return ray.remote(Meter).options(**options).remote()


def end() -> None:
    """End the meter, on a cluster that goes on without the server."""
    import ray

    try:
        ray.kill(ray.get_actor(_NAME, _NAMESPACE))
    except ValueError:
        # Nobody needed one.
        return
