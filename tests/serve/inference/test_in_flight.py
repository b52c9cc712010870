"""The mean number of requests in flight, over the time since it was last read."""

from __future__ import annotations

import pytest

from pintag.serve.inference.in_flight import InFlightTracker


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker(clock: Clock) -> InFlightTracker:
    return InFlightTracker(clock)


def work(tracker: InFlightTracker, clock: Clock, seconds: float, images: int = 1) -> None:
    tracker.begin(images)
    clock.now += seconds
    tracker.end(images)


def test_a_replica_that_is_busy_three_quarters_of_the_time_has_a_mean_of_three_quarters(
    tracker: InFlightTracker, clock: Clock
) -> None:
    for _ in range(3):
        work(tracker, clock, 3)
        clock.now += 1

    assert tracker.mean_requests() == pytest.approx(0.75)


def test_requests_count_once_whatever_their_number_of_images(
    tracker: InFlightTracker, clock: Clock
) -> None:
    tracker.begin(32)
    work(tracker, clock, 1)
    tracker.end(32)

    assert tracker.mean_requests() == pytest.approx(2)


def test_images_are_those_in_flight_now(tracker: InFlightTracker) -> None:
    tracker.begin(32)
    tracker.begin(1)
    tracker.end(32)

    assert tracker.images == 1


def test_a_mean_covers_only_the_time_since_the_last_one(
    tracker: InFlightTracker, clock: Clock
) -> None:
    work(tracker, clock, 5)
    tracker.mean_requests()
    clock.now += 5

    assert tracker.mean_requests() == 0


def test_a_request_that_lasts_counts_in_both_periods(
    tracker: InFlightTracker, clock: Clock
) -> None:
    tracker.begin(1)
    clock.now += 5
    tracker.mean_requests()
    clock.now += 5

    assert tracker.mean_requests() == pytest.approx(1)


def test_read_twice_at_once_it_returns_the_current_number(tracker: InFlightTracker) -> None:
    tracker.begin(1)

    assert [tracker.mean_requests(), tracker.mean_requests()] == [1, 1]
