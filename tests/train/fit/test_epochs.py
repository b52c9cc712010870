"""Epochs of a fit: a loss that is not a number ends it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from pintag.train.fit import epochs
from pintag.train.fit.epochs import DivergedError, TrainingData
from pintag.train.fit.step import TrainStep


class Rows:
    def take(self, indices: Any) -> Any:
        return np.zeros((len(indices), 1), np.float32)


class FakeStep:
    """Its losses are given; it counts its steps."""

    learning_rate = 1e30

    def __init__(self, losses: list[float], validation: float = 1.0) -> None:
        self._losses, self._validation, self.steps = losses, validation, 0

    def train(self, *arguments: Any) -> tuple[float, float]:
        self.steps += 1
        return self._losses[self.steps - 1], 0.0

    def evaluate(self, rows: Any, targets: Any) -> Any:
        return np.array([self._validation * len(targets), 0], np.float32)

    def sum_over_workers(self, values: Any) -> Any:
        return values


def data(steps: int, phase: str = "head") -> TrainingData:
    rows = np.arange(steps)
    targets = np.zeros(steps, np.int64)
    ones = np.ones(1, np.float32)
    return TrainingData(Rows(), targets, rows, rows, 1, (0, phase), ones)


def run(step: FakeStep, steps: int, phase: str = "head") -> dict[str, Any]:
    return epochs.run_epoch(data(steps, phase), 2, cast(TrainStep, step))


def test_finite_losses_are_averaged() -> None:
    assert run(FakeStep([1.0, 2.0]), 2)["loss"] == 1.5


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf"), 2.5e9])
@pytest.mark.parametrize("phase", ["head", "fine_tune"])
def test_a_loss_that_is_no_number_names_the_setting(loss: float, phase: str) -> None:
    with pytest.raises(DivergedError) as caught:
        run(FakeStep([1.0, loss, 1.0]), 3, phase)
    assert str(caught.value) == (
        f"{phase}.learning_rate: the loss is {loss:g} in epoch 3 with {phase}.learning_rate=1e+30;"
        " set a smaller one"
    )


def test_a_validation_loss_that_is_no_number_counts_too() -> None:
    with pytest.raises(DivergedError, match="the loss is nan in epoch 3"):
        run(FakeStep([1.0], validation=float("nan")), 1)


def test_the_epoch_ends_soon_after_the_loss() -> None:
    step = FakeStep([1.0] * 10 + [float("nan")] * 990)
    with pytest.raises(DivergedError):
        run(step, 1000)
    assert step.steps < 50
