"""The places of an explainer: which requests are in progress, and whose explanation is next.

Clients share the places, and take turns. A client alone may have all places. When they are taken, a
client with few of them gets the place of a request that waits: of the client with the most, the
newest one. What is being computed or drawn is never ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from pintag.serve.errors import OverloadedError
from pintag.serve.inference.equal_shares import EqualShares


@dataclass(slots=True, eq=False)
class Place:
    """The place of one request."""

    client: str
    turn: asyncio.Future[None] | None = None
    """Done when its explanation may begin, or when the place is lost."""
    is_computing: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether its explanation has not begun."""
        return self.turn is not None and not self.turn.done()


class ExplanationPlaces:
    """The requests in progress, of which one computes at a time. Use it on one event loop."""

    def __init__(self, count: int) -> None:
        """`count` is the number of places."""
        self._count = count
        # In the order of their arrival.
        self._places: list[Place] = []
        self._shares = EqualShares[str]()
        self._is_busy = False

    def __len__(self) -> int:
        """The number of requests in progress."""
        return len(self._places)

    @contextlib.contextmanager
    def admit(self, client: str, average_s: float) -> Iterator[Place]:
        """A place for a request, for the duration of the block.

        Args:
            client: who sent the request.
            average_s: the seconds of an explanation; `Retry-After` is computed from it.

        Raises:
            OverloadedError: all places are taken, and no client has two more than this one.
        """
        if len(self) >= self._count:
            error = OverloadedError(
                f"{len(self)} explanations are in progress, the maximum; try again later",
                retry_after=math.ceil(average_s * len(self)),
            )
            self._make_room(client, error)
        place = Place(client)
        if client not in self._clients():
            self._shares.join(client)
        self._places.append(place)
        try:
            yield place
        finally:
            self._remove(place)

    @contextlib.asynccontextmanager
    async def turn(self, place: Place) -> AsyncIterator[None]:
        """Wait until clients that take turns would explain this one; the next follows the block.

        Raises:
            OverloadedError: another client got the place.
        """
        try:
            await self._wait(place)
            yield
        finally:
            # It may have been cancelled at the moment when its turn came.
            if place.is_computing:
                place.is_computing = False
                self._begin_next()

    async def _wait(self, place: Place) -> None:
        if not any(each.is_waiting for each in self._places if each.client == place.client):
            self._shares.wait(place.client)
        place.turn = asyncio.get_running_loop().create_future()
        if not self._is_busy:
            self._begin_next()
        await place.turn

    def _begin_next(self) -> None:
        first: dict[str, Place] = {}
        for place in self._places:
            if place.is_waiting:
                first.setdefault(place.client, place)
        self._is_busy = bool(first)
        if not first:
            return
        # How long an explanation takes is not known before: each counts the same. Of clients that
        # had the same, the one with the fewest places is first.
        pieces = dict.fromkeys(sorted(first, key=self._clients().__getitem__), 1.0)
        client = self._shares.first(pieces)
        self._shares.serve(client, 1.0, pieces)
        place = first[client]
        place.is_computing = True
        if place.turn:
            place.turn.set_result(None)

    def _make_room(self, client: str, error: OverloadedError) -> None:
        """Take a place from the client with the most, if it keeps as many as this one then has."""
        clients = self._clients()
        waiting = [each for each in reversed(self._places) if each.is_waiting]
        newest = max(waiting, key=lambda place: clients[place.client], default=None)
        if newest is None or newest.turn is None or clients[newest.client] < clients[client] + 2:
            raise error
        newest.turn.set_exception(error)
        self._remove(newest)

    def _remove(self, place: Place) -> None:
        if place not in self._places:
            return
        self._places.remove(place)
        if place.client not in self._clients():
            self._shares.leave(place.client)

    def _clients(self) -> Counter[str]:
        return Counter(place.client for place in self._places)
