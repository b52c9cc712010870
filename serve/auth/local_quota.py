"""A replica's part of the rate limits: it admits most requests with tokens that it has leased.

It asks the rate limiter for one client at a time. Requests that arrive meanwhile wait in a queue,
and the next call asks for all of them.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pintag.serve.auth import decision, token_bucket
from pintag.serve.auth.api_keys import KeyHolder
from pintag.serve.auth.decision import Decision
from pintag.serve.auth.token_bucket import LEASE_S, TakeRequest, TakeResponse
from pintag.serve.errors import RateLimiterUnavailableError

Take = Callable[[TakeRequest], Awaitable[TakeResponse]]
"""`RateLimiter.take`, called remotely. It raises a RateLimiterUnavailableError."""

_MAX_LEASE = 64
# A client that has reached a limit is refused without a call for this long at most.
_MAX_REFUSAL_S = 1.0
# Requests that only the tokens of another replica could admit wait until these come back.
_HELD_PAUSE_S = 0.025
_MAX_HELD_S = token_bucket.LOST_LEASE_S


class LocalQuotas:
    """The tokens that this replica has leased for its clients."""

    def __init__(self, take: Take, fail_open: bool = False) -> None:
        """`fail_open`: whether requests are admitted while the rate limiter does not answer."""
        self._take, self._fail_open = take, fail_open
        self._replica = secrets.token_hex(8)
        self._quotas: dict[str, _LocalQuota] = {}

    async def admit(self, client: KeyHolder, images: int = 1) -> Decision:
        """Admit or refuse some images of a client together.

        Raises:
            RateLimiterUnavailableError: the rate limiter does not answer, and `fail_open` is false.
        """
        if not client.limits.is_limited:
            return Decision(True)
        quota = self._quotas.get(client.id)
        if quota is None:
            quota = self._quotas[client.id] = _LocalQuota(client, self._replica, self._take)
        try:
            return await quota.admit(client, images)
        except RateLimiterUnavailableError:
            if not self._fail_open:
                raise
            return Decision(True)


@dataclass
class _LeasedTokens:
    """Tokens that this replica may use until a time of the event loop's clock."""

    number: int = 0
    size: int = 0
    left: int = 0
    expires: float = -math.inf


class _Waiter(NamedTuple):
    images: int
    give_up: float
    """The time of the event loop's clock at which it no longer waits for other replicas."""
    answer: asyncio.Future[Decision]


@dataclass
class _LocalQuota:
    """The tokens that this replica has leased for one client."""

    client: KeyHolder
    replica: str
    take: Take
    _lease: _LeasedTokens = field(default_factory=_LeasedTokens)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _last_response: TakeResponse | None = None
    _refused_until: float = -math.inf
    _waiting: list[_Waiter] = field(default_factory=list)
    _asking: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None

    async def admit(self, client: KeyHolder, images: int) -> Decision:
        """See `LocalQuotas.admit`."""
        now = asyncio.get_running_loop().time()
        if client is not self.client:
            self._change(client)
        if not self._waiting:
            lease = self._lease
            if images <= lease.left and now < lease.expires:
                lease.left -= images
                return self._decision(True, images)
            if now < self._refused_until and images == 1:
                return self._decision(False, images)
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiter(images, now + _MAX_HELD_S, answer))
        self._ask()
        return await answer

    def _change(self, client: KeyHolder) -> None:
        """Use the limits of a file that was read again: new ones count at once.

        A request that arrived before that may still have the old ones.
        """
        if client.since < self.client.since:
            return
        if client.limits != self.client.limits:
            self._refused_until = self._lease.expires = -math.inf
        self.client = client

    def _ask(self) -> None:
        """Call the rate limiter in the background, if it is not being called already."""
        if self._asking is None:
            # A task of its own: a client that disconnects must not cancel it for the others.
            self._asking = asyncio.create_task(self._ask_until_all_are_answered())

    async def _ask_until_all_are_answered(self) -> None:
        try:
            await self._ask_once()
            while self._waiting:
                await self._ask_once()
        finally:
            self._asking = None

    async def _ask_once(self) -> None:
        """Ask for all requests that wait now, and answer them."""
        loop = asyncio.get_running_loop()
        # Clients may have disconnected.
        current = [waiter for waiter in self._waiting if not waiter.answer.done()]
        self._waiting = []
        started = loop.time()
        request = self._request(tuple(waiter.images for waiter in current), started)
        # Whatever fails here, no request may wait for ever.
        try:
            response = await self.take(request)
            self._start_lease(request.lease, response, started)
            held = [
                waiter
                for waiter, admitted in zip(current, response.admitted, strict=True)
                if not self._answer(waiter, admitted)
            ]
        except Exception as error:
            for waiter in (*current, *self._waiting):
                if not waiter.answer.done():
                    waiter.answer.set_exception(error)
            self._waiting = []
            return
        self._waiting = [*held, *self._waiting]
        if held:
            await asyncio.sleep(_HELD_PAUSE_S)

    def _request(self, costs: tuple[int, ...], now: float) -> TakeRequest:
        """A request that ends the lease, and asks for one that lasts until its end."""
        ended = self._lease
        self._lease = _LeasedTokens()
        used = ended.size - ended.left
        size = 0
        if costs:
            size = min(2 * ended.size + 1, _MAX_LEASE) if now < ended.expires else used
        return TakeRequest(
            client=self.client.id,
            limits=self.client.limits,
            since=self.client.since,
            costs=costs,
            replica=self.replica,
            used=used,
            ended=ended.number,
            lease=next(self._numbers),
            lease_size=size,
        )

    def _start_lease(self, number: int, response: TakeResponse, started: float) -> None:
        # The rate limiter counts from a later time, so the lease never ends later than it thinks.
        expires = started + min(LEASE_S, response.until_midnight_s)
        self._last_response, self._lease = (
            response,
            _LeasedTokens(number, response.leased, response.leased, expires),
        )
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if response.leased:
            # Tokens that are left come back, so that other replicas can use them.
            self._timer = asyncio.get_running_loop().call_at(expires, self._end_lease)

    def _end_lease(self) -> None:
        self._timer = None
        if self._lease.size:
            self._ask()

    def _answer(self, waiter: _Waiter, admitted: bool) -> bool:
        """Answer a request, unless the tokens that it needs may come back from another replica."""
        assert self._last_response is not None
        response, now = self._last_response, asyncio.get_running_loop().time()
        if not admitted and now < waiter.give_up:
            left = min(response.burst_left, response.day_left) + response.leased
            if left < waiter.images <= left + response.leased_elsewhere:
                return False
        answer = self._decision(admitted, waiter.images)
        if not admitted and waiter.images == 1:
            self._refused_until = now + min(answer.wait_s, _MAX_REFUSAL_S)
        if not waiter.answer.done():
            waiter.answer.set_result(answer)
        return True

    def _decision(self, admitted: bool, images: int) -> Decision:
        assert self._last_response is not None
        return decision.decide(
            self.client.limits,
            self._last_response,
            self._lease.left,
            admitted=admitted,
            images=images,
        )
