"""What is under way is told in the mean, of all the time since it was last asked for."""

from __future__ import annotations

import pytest

from serve.ongoing import Ongoing


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ongoing(clock: Clock) -> Ongoing:
    return Ongoing(clock)


def work(ongoing: Ongoing, clock: Clock, seconds: float, images: int = 1) -> None:
    ongoing.begin(images)
    clock.now += seconds
    ongoing.end(images)


def test_a_replica_that_is_busy_for_three_quarters_of_its_time_has_three_quarters_of_a_request(
    ongoing: Ongoing, clock: Clock
) -> None:
    for _ in range(3):
        work(ongoing, clock, 3)
        clock.now += 1

    assert ongoing.mean_requests() == pytest.approx(0.75)


def test_requests_count_whatever_their_images(ongoing: Ongoing, clock: Clock) -> None:
    ongoing.begin(32)
    work(ongoing, clock, 1)
    ongoing.end(32)

    assert ongoing.mean_requests() == pytest.approx(2)


def test_images_are_those_of_now(ongoing: Ongoing) -> None:
    ongoing.begin(32)
    ongoing.begin(1)
    ongoing.end(32)

    assert ongoing.images == 1


def test_what_was_told_is_not_told_again(ongoing: Ongoing, clock: Clock) -> None:
    work(ongoing, clock, 5)
    ongoing.mean_requests()
    clock.now += 5

    assert ongoing.mean_requests() == 0


def test_a_request_that_goes_on_counts_in_both_times(ongoing: Ongoing, clock: Clock) -> None:
    ongoing.begin(1)
    clock.now += 5
    ongoing.mean_requests()
    clock.now += 5

    assert ongoing.mean_requests() == pytest.approx(1)


def test_asked_twice_at_once_it_tells_what_is_there(ongoing: Ongoing) -> None:
    ongoing.begin(1)

    assert [ongoing.mean_requests(), ongoing.mean_requests()] == [1, 1]
