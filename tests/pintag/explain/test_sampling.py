"""Sampling: every mask is predicted once and in order, until `stop` is true."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from pintag.core.types import Array
from pintag.explain.perturbation import Masks, Perturber
from pintag.explain.sampling import Predict, Sampler, Stop
from tests.pintag.conftest import row, shown

COUNT = 4


class Recorder:
    """A predict function that counts the shown segments of each image and records its calls."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: Array) -> Any:
        self.sizes.append(len(images))
        share = shown(images).mean(axis=1)
        return np.stack([share, 1 - share], axis=-1).astype(np.float32)


def make_sampler(predict: Predict, batch_size: int = 4, stop: Stop | None = None) -> Sampler:
    image, segments = row(COUNT)
    perturber = Perturber(image, np.zeros_like(image), segments, batch_size)
    return Sampler(perturber, predict, batch_size, stop)


def drawn(count: int) -> Masks:
    return np.random.default_rng(0).random((count, COUNT)) < 0.5


def after(calls: int) -> Stop:
    """A `stop` that returns False for this number of calls, and then True."""
    counter = itertools.count(1)
    return lambda: next(counter) > calls


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 64])
def test_every_mask_is_predicted_in_order_whatever_the_batch_size(batch_size: int) -> None:
    masks, recorder = drawn(10), Recorder()
    confidences = make_sampler(recorder, batch_size).predict(masks)
    assert confidences.dtype == np.float32
    np.testing.assert_allclose(confidences[:, 0], masks.mean(axis=1))
    assert max(recorder.sizes) == min(batch_size, 10)
    assert sum(recorder.sizes) == 10
    assert len(recorder.sizes) == -(-10 // batch_size)


def test_samples_and_seconds_are_counted_over_all_calls() -> None:
    sampler = make_sampler(Recorder())
    assert (sampler.count, sampler.seconds, sampler.stopped) == (0, 0.0, False)
    sampler.predict(drawn(6))
    assert sampler.count == 6
    seconds = sampler.seconds
    assert seconds > 0
    sampler.predict(drawn(3))
    assert sampler.count == 9
    assert sampler.seconds > seconds
    assert sampler.stopped is False


def test_sampling_stops_between_batches() -> None:
    masks, recorder = drawn(20), Recorder()
    sampler = make_sampler(recorder, stop=after(2))
    confidences = sampler.predict(masks)
    assert sampler.stopped
    assert recorder.sizes == [4, 4, 4]
    assert sampler.count == 12
    np.testing.assert_allclose(confidences[:, 0], masks[:12].mean(axis=1))


def test_the_first_batch_is_always_predicted() -> None:
    sampler = make_sampler(Recorder(), stop=lambda: True)
    assert len(sampler.predict(drawn(20))) == 4
    assert sampler.stopped


def test_at_least_two_samples_are_predicted() -> None:
    """The whole image alone contains no information about its parts."""
    recorder = Recorder()
    sampler = make_sampler(recorder, batch_size=1, stop=lambda: True)
    assert len(sampler.predict(drawn(20))) == 2
    assert recorder.sizes == [1, 1]


def test_after_a_stop_nothing_is_predicted_and_stop_is_not_called_again() -> None:
    calls = []

    def stop() -> bool:
        calls.append(True)
        return len(calls) == 1

    sampler = make_sampler(Recorder(), stop=stop)
    sampler.predict(drawn(8))
    confidences = sampler.predict(drawn(8))
    assert confidences.shape == (0, 2)
    assert sampler.count == 4
    assert len(calls) == 1


def test_sampling_that_is_complete_does_not_count_as_stopped() -> None:
    sampler = make_sampler(Recorder(), stop=after(1))
    assert len(sampler.predict(drawn(8))) == 8
    assert not sampler.stopped


def test_an_exception_of_stop_propagates() -> None:
    recorder = Recorder()

    def stop() -> bool:
        raise KeyboardInterrupt("cancelled")

    with pytest.raises(KeyboardInterrupt, match="cancelled"):
        make_sampler(recorder, stop=stop).predict(drawn(20))
    assert recorder.sizes == [4]


def test_an_exception_of_predict_propagates() -> None:
    def predict(images: Array) -> Any:
        raise MemoryError("the device is full")

    with pytest.raises(MemoryError, match="the device is full"):
        make_sampler(predict).predict(drawn(4))


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        (np.zeros(4), r"\[4\]"),
        (np.zeros((3, 2)), r"\[3, 2\]"),
        (np.zeros((4, 2, 1)), r"\[4, 2, 1\]"),
        (np.zeros((1, 4)), r"\[1, 4\]"),
    ],
)
def test_the_error_for_a_wrong_shape_shows_the_shape(answer: Any, shape: str) -> None:
    with pytest.raises(ValueError, match=rf"returned {shape} for 4 images, not \[N,C\]"):
        make_sampler(lambda images: answer).predict(drawn(4))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_confidences_that_are_not_finite_are_refused(bad: float) -> None:
    answer = np.full((4, 2), 0.5)
    answer[2, 1] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        make_sampler(lambda images: answer).predict(drawn(4))
