"""Equal shares of what is served piece by piece, such as the time of decoders: fair queueing.

Each member has an account of what it has received. The next piece is the one that equal shares
would finish first (A. Demers, S. Keshav and S. Shenker, 1989). So a piece waits at most for as long
as equal shares would take, and for what is in progress; it does not matter how large the pieces of
others are, or how many wait (A. Parekh and R. Gallager, 1993).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)


class EqualShares(Generic[Member]):
    """Those that share, and how many seconds each has received."""

    def __init__(self) -> None:
        self._received: dict[Member, float] = {}
        # What a member has received that has waited all the time, and got exactly its share.
        self._fair = 0.0

    def join(self, member: Member) -> None:
        """Add a member; it has no claim to what the others received before."""
        self._received[member] = self._fair

    def leave(self, member: Member) -> None:
        """Remove a member."""
        del self._received[member]

    def wait(self, member: Member) -> None:
        """A piece of a member begins to wait: it has no claim to what it did not wait for."""
        self._received[member] = max(self._received[member], self._fair)

    def first(self, pieces: Mapping[Member, float]) -> Member:
        """Whose piece is next; `pieces` has the seconds of those that wait, and is not empty."""
        return min(pieces, key=lambda member: self._received[member] + pieces[member])

    def serve(self, member: Member, seconds: float, waiting: Collection[Member]) -> None:
        """Charge a piece to its member; `waiting` are all members with a piece, this one too."""
        # Several decoders do more than a second of work in a second.
        self._fair = max(self._fair, min(self._received[each] for each in waiting))
        self._received[member] += seconds
        self._fair += seconds / len(self._received)


def seconds_until_done(own: float, others: Collection[float]) -> float:
    """The seconds of work until `own` seconds are done, if all share equally from now on."""
    return own + sum(min(own, other) for other in others)
