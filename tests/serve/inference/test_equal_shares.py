"""Who is served next, where one piece is served at a time."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from pintag.serve.inference.equal_shares import EqualShares, seconds_until_done

LONG, SHORT = 1.2, 0.08


def served(shares: EqualShares[str], pieces: dict[str, float], count: int) -> list[str]:
    """The next `count` members; a piece of the same length follows each."""
    order = []
    for _ in range(count):
        name = shares.first(pieces)
        shares.serve(name, pieces[name], pieces)
        order.append(name)
        shares.wait(name)
    return order


def joined(*names: str) -> EqualShares[str]:
    shares = EqualShares[str]()
    for name in names:
        shares.join(name)
    return shares


def test_equal_pieces_take_turns() -> None:
    order = served(joined("A", "B", "C"), dict.fromkeys("ABC", LONG), 9)
    assert order == ["A", "B", "C"] * 3


def test_the_seconds_are_shared_not_the_pieces() -> None:
    counts = Counter(served(joined("photos", "wide"), {"photos": SHORT, "wide": LONG}, 160))
    assert counts == {"photos": 150, "wide": 10}


@pytest.mark.parametrize("served_before", [0, 3, 18])
def test_a_short_piece_goes_before_twenty_long_ones(served_before: int) -> None:
    names = [f"wide {number}" for number in range(20)]
    shares = joined(*names)
    served(shares, dict.fromkeys(names, LONG), served_before)
    shares.join("photo")
    assert served(shares, dict.fromkeys(names, LONG) | {"photo": SHORT}, 1) == ["photo"]


def test_a_long_piece_is_not_overtaken_for_ever() -> None:
    """New members with short pieces come all the time, three at a time."""
    shares, order = joined("wide"), list[str]()
    names = [f"photo {number}" for number in range(3)]
    for _ in range(20):
        for name in names:
            shares.join(name)
        order += served(shares, dict.fromkeys(names, SHORT) | {"wide": LONG}, 3)
        for name in names:
            shares.leave(name)
    # Its share is a quarter.
    assert order.index("wide") * SHORT == pytest.approx(4 * (LONG - SHORT), abs=3 * SHORT)


def test_who_had_everything_for_long_gets_half_from_now_on() -> None:
    shares = joined("first")
    served(shares, {"first": SHORT}, 1000)
    shares.join("second")
    order = served(shares, {"first": SHORT, "second": SHORT}, 10)
    assert Counter(order) == {"first": 5, "second": 5}


def test_who_waited_for_nothing_has_no_claim_to_what_others_got() -> None:
    shares = joined("idle", "busy")
    served(shares, {"busy": SHORT}, 1000)
    shares.wait("idle")
    order = served(shares, {"idle": SHORT, "busy": SHORT}, 10)
    assert Counter(order) == {"idle": 5, "busy": 5}


@pytest.mark.parametrize("seed", range(50))
def test_whoever_comes_and_goes_nobody_falls_behind_by_more_than_two_pieces(seed: int) -> None:
    """One member always waits; it lacks its own next piece, and the longest of the others."""
    chance = random.Random(seed)
    own = chance.choice([SHORT, LONG])
    shares, waiting = joined("own"), {"own": own}
    members, share, received = {"own"}, 0.0, 0.0
    for _ in range(300):
        for name in "ABCDE":
            if name not in members:
                if chance.random() < 0.3:
                    shares.join(name)
                    members.add(name)
            elif name not in waiting:
                if chance.random() < 0.2:
                    shares.leave(name)
                    members.remove(name)
                elif chance.random() < 0.6:
                    shares.wait(name)
                    waiting[name] = chance.choice([SHORT, LONG])
        name = shares.first(waiting)
        shares.serve(name, waiting[name], waiting)
        share += waiting[name] / len(members)
        if name == "own":
            received += own
            shares.wait(name)
        else:
            del waiting[name]
        assert share - received <= own + LONG


@pytest.mark.parametrize(
    ("own", "others", "seconds"),
    [(3, [], 3), (3, [1, 1], 5), (3, [9], 6), (1, [9, 9], 3), (0, [9], 0)],
)
def test_until_own_work_is_done_others_have_had_as_much_at_most(
    own: float, others: list[float], seconds: float
) -> None:
    assert seconds_until_done(own, others) == seconds
