"""Admission control: requests are refused at the limit, and other replicas see a busy one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from pintag.core.errors import ImageTooLargeError
from pintag.serve.errors import OverloadedError
from pintag.serve.inference.admission import Admission, Load
from pintag.serve.inference.core_sharing import BusyLock

pytestmark = pytest.mark.ray


@pytest.fixture
def admission(tmp_path: Path) -> Admission:
    """The admission control of a replica that admits 8 images and 100 bytes."""
    return Admission(Load(8, 100), BusyLock(tmp_path))


def test_images_are_in_flight_until_the_block_ends(admission: Admission) -> None:
    with admission.admit(Load(3), 0):
        assert admission.images == 3
    assert admission.images == 0


def test_a_failed_request_leaves_too(admission: Admission) -> None:
    for _ in range(9):
        with pytest.raises(MemoryError), admission.admit(Load(3, 50), 0):
            raise MemoryError
    assert admission.images == 0


def test_a_request_gets_at_most_half_of_the_images_that_are_free(admission: Admission) -> None:
    with contextlib.ExitStack() as stack:
        admitted = [stack.enter_context(admission.admit(Load(256), 0)) for _ in range(4)]
        assert admitted == [4, 2, 1, 1]
    assert admission.images == 0


def test_a_request_is_refused_if_no_image_is_free(admission: Admission) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(admission.admit(Load(1), 0))
        with (
            pytest.raises(OverloadedError, match=r"^8 images are in flight, the limit is 8; try a"),
            admission.admit(Load(1), 0),
        ):
            pass


def test_a_request_of_more_than_half_of_the_bytes_is_too_large(admission: Admission) -> None:
    words = "51 bytes in one request; at most 50 are accepted"
    with pytest.raises(ImageTooLargeError, match=words), admission.admit(Load(1, 51), 0):
        pass
    assert admission.images == 0


def test_a_full_replica_still_admits_the_small_requests_of_others(admission: Admission) -> None:
    words = "50 bytes of images are in flight, the limit is 100; try again"
    with admission.admit(Load(1, 50), 0):
        with pytest.raises(OverloadedError, match=words), admission.admit(Load(1, 50), 0):
            pass
        with admission.admit(Load(1, 9), 0), admission.admit(Load(1, 9), 0):
            assert admission.images == 3


@pytest.mark.parametrize(("seconds_per_image", "seconds"), [(0.0, "1"), (0.1, "1"), (0.3, "3")])
def test_retry_after_is_the_time_that_the_images_in_flight_take(
    admission: Admission, seconds_per_image: float, seconds: str
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(admission.admit(Load(1), 0))
        with (
            pytest.raises(OverloadedError) as raised,
            admission.admit(Load(1), seconds_per_image),
        ):
            pass
    assert raised.value.headers == {"Retry-After": seconds}


def test_other_replicas_see_it_busy_while_any_image_is_in_flight(
    admission: Admission, tmp_path: Path
) -> None:
    seconds = 0.0
    other = BusyLock(tmp_path, lambda: seconds)
    with admission.admit(Load(1), 0):
        with admission.admit(Load(1), 0):
            assert other.others_busy()
        assert other.others_busy()
    seconds = 1.0
    assert not other.others_busy()


def test_requests_are_reported_under_the_name_of_ray_s_own_count(admission: Admission) -> None:
    with admission.admit(Load(1), 0):
        admission.autoscaling_stats()
        (mean,) = admission.autoscaling_stats().values()
    assert mean == pytest.approx(1)
