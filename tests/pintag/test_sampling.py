"""Sampling: every mask is predicted once and in order, until it is said to stop."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from pintag.perturbation import Array, Masks, Perturber
from pintag.sampling import Predict, Sampler, Stop
from tests.pintag.conftest import row, shown

COUNT = 4


class Recorder:
    """A predict function that tells of each image how many segments are shown, and remembers."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: Array) -> Any:
        self.sizes.append(len(images))
        share = shown(images).mean(axis=1)
        return np.stack([share, 1 - share], axis=-1).astype(np.float32)


def sampler(predict: Predict, batch_size: int = 4, stop: Stop | None = None) -> Sampler:
    image, segments = row(COUNT)
    perturber = Perturber(image, np.zeros_like(image), segments, batch_size)
    return Sampler(perturber, predict, batch_size, stop)


def drawn(count: int) -> Masks:
    return np.random.default_rng(0).random((count, COUNT)) < 0.5


def after(calls: int) -> Stop:
    """A `stop` that is true once it has been asked so many times, and ever after."""
    counter = itertools.count(1)
    return lambda: next(counter) > calls


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 64])
def test_every_mask_is_predicted_in_order_whatever_the_batch_size(batch_size: int) -> None:
    masks, recorder = drawn(10), Recorder()
    found = sampler(recorder, batch_size).predict(masks)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], masks.mean(axis=1))
    assert max(recorder.sizes) == min(batch_size, 10)
    assert sum(recorder.sizes) == 10
    assert len(recorder.sizes) == -(-10 // batch_size)


def test_samples_and_seconds_are_counted_over_all_calls() -> None:
    made = sampler(Recorder())
    assert (made.count, made.seconds, made.stopped) == (0, 0.0, False)
    made.predict(drawn(6))
    assert made.count == 6
    spent = made.seconds
    assert spent > 0
    made.predict(drawn(3))
    assert made.count == 9
    assert made.seconds > spent
    assert made.stopped is False


def test_it_stops_between_batches() -> None:
    masks, recorder = drawn(20), Recorder()
    made = sampler(recorder, stop=after(2))
    found = made.predict(masks)
    assert made.stopped
    assert recorder.sizes == [4, 4, 4]
    assert made.count == 12
    np.testing.assert_allclose(found[:, 0], masks[:12].mean(axis=1))


def test_the_first_batch_is_predicted_even_when_it_is_too_late_already() -> None:
    made = sampler(Recorder(), stop=lambda: True)
    assert len(made.predict(drawn(20))) == 4
    assert made.stopped


def test_two_samples_are_predicted_even_one_by_one() -> None:
    """The whole image alone says nothing about its parts."""
    recorder = Recorder()
    made = sampler(recorder, batch_size=1, stop=lambda: True)
    assert len(made.predict(drawn(20))) == 2
    assert recorder.sizes == [1, 1]


def test_who_has_stopped_predicts_no_more_and_does_not_ask_again() -> None:
    asked = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) == 1

    made = sampler(Recorder(), stop=stop)
    made.predict(drawn(8))
    found = made.predict(drawn(8))
    assert found.shape == (0, 2)
    assert made.count == 4
    assert len(asked) == 1


def test_a_stop_that_comes_with_the_end_is_no_stop() -> None:
    made = sampler(Recorder(), stop=after(1))
    assert len(made.predict(drawn(8))) == 8
    assert not made.stopped


def test_what_stop_raises_is_passed_on() -> None:
    recorder = Recorder()

    def stop() -> bool:
        raise KeyboardInterrupt("nobody waits any more")

    with pytest.raises(KeyboardInterrupt, match="nobody waits"):
        sampler(recorder, stop=stop).predict(drawn(20))
    assert recorder.sizes == [4]


def test_what_predict_raises_is_passed_on() -> None:
    def predict(images: Array) -> Any:
        raise MemoryError("the device is full")

    with pytest.raises(MemoryError, match="the device is full"):
        sampler(predict).predict(drawn(4))


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        (np.zeros(4), r"\[4\]"),
        (np.zeros((3, 2)), r"\[3, 2\]"),
        (np.zeros((4, 2, 1)), r"\[4, 2, 1\]"),
        (np.zeros((1, 4)), r"\[1, 4\]"),
    ],
)
def test_an_answer_of_another_shape_is_refused_and_shown(answer: Any, shape: str) -> None:
    with pytest.raises(ValueError, match=rf"gave {shape} for 4 images, not \[N,C\]"):
        sampler(lambda images: answer).predict(drawn(4))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_confidences_that_are_no_numbers_are_refused(bad: float) -> None:
    answer = np.full((4, 2), 0.5)
    answer[2, 1] = bad
    with pytest.raises(ValueError, match="no numbers"):
        sampler(lambda images: answer).predict(drawn(4))
