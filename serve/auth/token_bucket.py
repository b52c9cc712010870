"""The counts that limits are held to: a token bucket and a daily count for each client.

A replica reserves a few tokens with its requests, so that it can admit the next ones by itself. The
reserved tokens are a lease, which is short: nobody else can use them until the replica reports
how many it used. Only those are then charged. So replicas together never exceed a limit, and no
token is lost, unless a replica dies: the tokens of its lease then count as used.

`take.lua` does the same in Redis; the same tests hold both to it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pintag.serve.auth.limits import RateLimits

DAY_S = 86400
LEASE_S = 0.5
"""Seconds for which a replica may use the tokens of a lease."""
# A lease whose replica has not reported by then: a call to the rate limiter takes up to a second.
LOST_LEASE_S = LEASE_S + 1.5
# A lease has at most an eighth of what is left, so leases shrink as a quota runs out.
LEASE_SHARE = 8
# Counts are of whole tokens, but a bucket that refills is not exact.
EPSILON = 1e-9


class TakeRequest(NamedTuple):
    """What a replica asks for one client."""

    client: str
    limits: RateLimits
    since: float
    """The Unix time at which the replica read the limits: the newest ones apply."""
    costs: tuple[int, ...] = ()
    """The tokens of each request; each is admitted as a whole or not at all."""
    replica: str = ""
    used: int = 0
    """The tokens of the lease `ended` that were used."""
    ended: int = 0
    """The number of the replica's last lease, 0 if there is none."""
    lease: int = 0
    """The number of the next lease; the numbers of a replica are never used twice."""
    lease_size: int = 0
    """The tokens that the next lease should have. It may get fewer."""


class TakeResponse(NamedTuple):
    """The answer to a `TakeRequest`, and the client's counts after it."""

    admitted: tuple[bool, ...]
    """Whether each request is admitted."""
    leased: int
    """The tokens of the new lease."""
    leased_elsewhere: int
    """The tokens of other replicas' leases, which may come back."""
    burst_left: float
    """The tokens in the bucket, without leases; infinite without `per_second`. Limits that were
    lowered can make it negative."""
    day_left: float
    """The tokens left today, without leases; infinite without `per_day`."""
    until_midnight_s: float


class _Lease(NamedTuple):
    number: int
    size: int
    day: int
    lost_at: float


@dataclass
class ClientState:
    """One client's counts."""

    limits: RateLimits
    since: float
    updated: float
    level: float = 0.0
    """The tokens that are used and not yet refilled, without leases."""
    used_today: int = 0
    """The tokens used since midnight UTC, without leases."""
    leases: dict[str, _Lease] = field(default_factory=dict)

    def take(self, request: TakeRequest, now: float) -> TakeResponse:
        """Answer a request at the Unix time `now`."""
        self._advance(now)
        self._end_leases(request, now)
        self._adopt(request.limits, min(request.since, now))
        elsewhere = sum(lease.size for lease in self.leases.values())
        admitted = tuple(self._charge_if_left(cost) for cost in request.costs)
        leased = self._lease(request, now)
        return TakeResponse(
            admitted,
            leased,
            elsewhere,
            self._burst_left(),
            self._day_left(),
            (self._day + 1) * DAY_S - now,
        )

    @property
    def _day(self) -> int:
        return int(self.updated // DAY_S)

    def _advance(self, now: float) -> None:
        """Refill the bucket since the last call; a new day resets the daily count.

        If the clock is set back, perhaps over midnight, no tokens are added.
        """
        rate = self.limits.per_second or 0.0
        self.level = max(0.0, self.level - max(0.0, now - self.updated) * rate)
        if int(now // DAY_S) not in (self._day, self._day - 1):
            self.used_today = 0
        self.updated = now

    def _end_leases(self, request: TakeRequest, now: float) -> None:
        """Charge the replica's last lease, and those of replicas that no longer report."""
        for replica, lease in list(self.leases.items()):
            if replica == request.replica:
                is_reported = lease.number == request.ended
                self._charge(min(request.used, lease.size) if is_reported else lease.size, lease)
            elif now >= lease.lost_at:
                self._charge(lease.size, lease)
            else:
                continue
            del self.leases[replica]

    def _charge(self, used: int, lease: _Lease) -> None:
        if self.limits.per_second is not None:
            # Limits that were lowered during the lease must not leave a debt above a full bucket.
            self.level = min(self.level + used, max(self.level, self.limits.capacity))
        if lease.day == self._day:
            self.used_today += used

    def _adopt(self, limits: RateLimits, since: float) -> None:
        """Apply the limits, if they are not older than those that apply.

        Used tokens stay used, but a bucket is never more than empty, and a new one is full.
        """
        if since < self.since:
            return
        had_rate = self.limits.per_second is not None
        self.limits, self.since = limits, since
        has_rate = limits.per_second is not None
        self.level = min(self.level, limits.capacity) if had_rate and has_rate else 0.0

    def _charge_if_left(self, cost: int) -> bool:
        if cost > min(self._burst_left(), self._day_left()) + EPSILON:
            return False
        if self.limits.per_second is not None:
            self.level += cost
        self.used_today += cost
        return True

    def _lease(self, request: TakeRequest, now: float) -> int:
        left = min(self._burst_left(), self._day_left())
        share = left // LEASE_SHARE if math.isfinite(left) else request.lease_size
        size = int(max(0, min(request.lease_size, share)))
        if size:
            self.leases[request.replica] = _Lease(
                request.lease, size, self._day, now + LOST_LEASE_S
            )
        return size

    def _burst_left(self) -> float:
        if self.limits.per_second is None:
            return math.inf
        leased = sum(lease.size for lease in self.leases.values())
        return self.limits.capacity - self.level - leased

    def _day_left(self) -> float:
        if self.limits.per_day is None:
            return math.inf
        leased = sum(lease.size for lease in self.leases.values() if lease.day == self._day)
        return self.limits.per_day - self.used_today - leased


class RateLimiter:
    """The counts of all clients, in memory."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._states: dict[str, ClientState] = {}

    def ready(self) -> None:
        """Return when the Ray actor runs."""

    def take(self, request: TakeRequest) -> TakeResponse:
        """Admit requests of one client, or refuse them, and lease tokens to the replica."""
        now = self._clock()
        state = self._states.get(request.client)
        if state is None:
            state = ClientState(request.limits, min(request.since, now), now)
            self._states[request.client] = state
        return state.take(request, now)
