"""The slots of an explainer: which requests are in progress, and whose explanation is next.

Clients share the slots, and take turns. A client alone may have all slots. When they are taken, a
client with few of them gets the slot of a request that waits: of the client with the most, the
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
class Slot:
    """The slot of one request."""

    client: str
    turn: asyncio.Future[None] | None = None
    """Done when its explanation may begin, or when the slot is lost."""
    is_computing: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether its explanation has not begun."""
        return self.turn is not None and not self.turn.done()


class ExplanationSlots:
    """The requests in progress, of which one computes at a time. Use it on one event loop."""

    def __init__(self, count: int) -> None:
        """`count` is the number of slots."""
        self._count = count
        # In the order of their arrival.
        self._slots: list[Slot] = []
        self._shares = EqualShares[str]()
        self._is_busy = False

    def __len__(self) -> int:
        """The number of requests in progress."""
        return len(self._slots)

    @contextlib.contextmanager
    def admit(self, client: str, average_s: float) -> Iterator[Slot]:
        """A slot for a request, for the duration of the block.

        Args:
            client: who sent the request.
            average_s: the seconds of an explanation; `Retry-After` is computed from it.

        Raises:
            OverloadedError: all slots are taken, and no client has two more than this one.
        """
        if len(self) >= self._count:
            error = OverloadedError(
                f"{len(self)} explanations are in progress, the maximum; try again later",
                retry_after=math.ceil(average_s * len(self)),
            )
            self._make_room(client, error)
        slot = Slot(client)
        if client not in self._clients():
            self._shares.join(client)
        self._slots.append(slot)
        try:
            yield slot
        finally:
            self._remove(slot)

    @contextlib.asynccontextmanager
    async def turn(self, slot: Slot) -> AsyncIterator[None]:
        """Wait until clients that take turns would explain this one; the next follows the block.

        Raises:
            OverloadedError: another client got the slot.
        """
        try:
            await self._wait(slot)
            yield
        finally:
            # It may have been cancelled at the moment when its turn came.
            if slot.is_computing:
                slot.is_computing = False
                self._begin_next()

    async def _wait(self, slot: Slot) -> None:
        if not any(each.is_waiting for each in self._slots if each.client == slot.client):
            self._shares.wait(slot.client)
        slot.turn = asyncio.get_running_loop().create_future()
        if not self._is_busy:
            self._begin_next()
        await slot.turn

    def _begin_next(self) -> None:
        first: dict[str, Slot] = {}
        for slot in self._slots:
            if slot.is_waiting:
                first.setdefault(slot.client, slot)
        self._is_busy = bool(first)
        if not first:
            return
        # How long an explanation takes is not known before: each counts the same. Of clients that
        # had the same, the one with the fewest slots is first.
        pieces = dict.fromkeys(sorted(first, key=self._clients().__getitem__), 1.0)
        client = self._shares.first(pieces)
        self._shares.serve(client, 1.0, pieces)
        slot = first[client]
        slot.is_computing = True
        if slot.turn:
            slot.turn.set_result(None)

    def _make_room(self, client: str, error: OverloadedError) -> None:
        """Take a slot from the client with the most, if it keeps as many as this one then has."""
        clients = self._clients()
        waiting = [each for each in reversed(self._slots) if each.is_waiting]
        newest = max(waiting, key=lambda slot: clients[slot.client], default=None)
        if newest is None or newest.turn is None or clients[newest.client] < clients[client] + 2:
            raise error
        newest.turn.set_exception(error)
        self._remove(newest)

    def _remove(self, slot: Slot) -> None:
        if slot not in self._slots:
            return
        self._slots.remove(slot)
        if slot.client not in self._clients():
            self._shares.leave(slot.client)

    def _clients(self) -> Counter[str]:
        return Counter(slot.client for slot in self._slots)
