"""Training epochs of one model: every training row once, in shuffled global batches.

All workers use the same order and each takes its share of every batch. The number of workers
therefore does not change the result (see `pintag.train.fit.step`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from pintag.core.errors import TrainingError
from pintag.core.types import Array
from pintag.train.fit.step import TrainStep

Indices = npt.NDArray[np.int64]

_EVALUATION_BATCH = 64
# Reading a loss waits for its step, so it is read after this many steps, and after the last one.
_STEPS_BETWEEN_CHECKS = 16


# No epoch makes a useful network after such a loss, in nats: guessing has one of 14 with a million
# labels. A learning rate of 1e9 stays below infinity, and would end with a useless bundle.
_LARGEST_LOSS = 1e9


class DivergedError(TrainingError):
    """The loss of a fit is not a finite number, or huge, and no later epoch would change that."""


class RowArray(Protocol):
    """An array of features or pixels, read by index."""

    def take(self, indices: Indices) -> Array:
        """Return the rows at `indices`: `[n, ...]`."""


class EpochViews(Protocol):
    """Random views of the training rows, different in every epoch."""

    def take(self, indices: Indices, epoch: int) -> Array:
        """Return a view of each of the rows at `indices`: `[n, ...]`."""


@dataclass(frozen=True)
class TrainingData:
    """The rows of one phase, and the seed of their order."""

    rows: RowArray
    targets: npt.NDArray[np.int64]
    """`int64[N]`, of every row."""
    train: Indices
    """Indices of the training rows."""
    validation: Indices
    batch_size: int
    """Rows per step, over all workers together."""
    seed: tuple[int, str]
    """The seed of the run, and the name of the phase."""
    weights: npt.NDArray[np.float32]
    """`float32[C]`: the weight of each label in the loss."""
    views: EpochViews | None = None
    """Views of the training rows; None: train on the rows themselves."""
    rank: int = 0
    world: int = 1

    @property
    def steps(self) -> int:
        """The number of steps per epoch."""
        return -(-len(self.train) // self.batch_size)


def label_weights(
    targets: npt.NDArray[np.int64], labels: int, kind: Literal["none", "balanced"]
) -> npt.NDArray[np.float32]:
    """Return `float32[C]`: ones, or weights inversely proportional to the count of each label.

    Balanced weights average to one over the training rows.
    """
    weights = np.ones(labels, np.float32)
    if kind == "balanced":
        counts = Counter(targets.tolist())
        for target, count in counts.items():
            weights[target] = len(targets) / (len(counts) * count)
    return weights


def run_epoch(data: TrainingData, epoch: int, step: TrainStep) -> dict[str, Any]:
    """Train one epoch, counted from 0, and validate; every worker must call it.

    Returns:
        The metrics of the epoch over all workers: mean loss, accuracies, and the loss of each step.

    Raises:
        DivergedError: a loss is not finite, or huge; the message names the setting to change.
    """
    started = time.perf_counter()
    results = []
    for batch in _batches(data, epoch):
        results.append(_train_batch(data, batch, epoch, step))
        if len(results) % _STEPS_BETWEEN_CHECKS == 0:
            _check_finite([float(results[-1][0])], data, epoch, step)
    losses = [float(loss) for loss, _ in results]
    _check_finite(losses, data, epoch, step)
    validation_loss, validation_accuracy = _validate(data, step)
    _check_finite([validation_loss], data, epoch, step)
    return {
        "epoch": epoch + 1,
        "loss": float(np.mean(losses)),
        "accuracy": sum(float(hits) for _, hits in results) / len(data.train),
        "validation_loss": validation_loss,
        "validation_accuracy": validation_accuracy,
        "seconds": time.perf_counter() - started,
        "step_losses": losses,
    }


def _train_batch(
    data: TrainingData, batch: Indices, epoch: int, step: TrainStep
) -> tuple[Any, Any]:
    """Make one step with this worker's share of a batch. See `TrainStep.train`."""
    local = batch[data.rank :: data.world]
    targets = data.targets[local]
    rows = data.views.take(local, epoch) if data.views else data.rows.take(local)
    return step.train(rows, targets, data.weights[targets], len(batch))


def _check_finite(losses: Sequence[float], data: TrainingData, epoch: int, step: TrainStep) -> None:
    """Raise a `DivergedError` if a loss is not a finite number, or huge.

    Every worker sees the same losses.
    """
    # No comparison with `nan` is true.
    wrong = next((loss for loss in losses if not abs(loss) <= _LARGEST_LOSS), None)
    if wrong is not None:
        setting = f"{data.seed[1]}.learning_rate"
        raise DivergedError(
            f"{setting}: the loss is {wrong:g} in epoch {epoch + 1} with {setting}="
            f"{step.learning_rate:g}; set a smaller one"
        )


def _batches(data: TrainingData, epoch: int) -> Iterator[Indices]:
    order = np.random.default_rng(_seed(data, epoch)).permutation(data.train)
    for start in range(0, len(order), data.batch_size):
        yield order[start : start + data.batch_size]


def _validate(data: TrainingData, step: TrainStep) -> tuple[float, float]:
    local = data.validation[data.rank :: data.world]
    total = np.zeros(2, np.float32)
    for start in range(0, len(local), _EVALUATION_BATCH):
        chosen = local[start : start + _EVALUATION_BATCH]
        total += step.evaluate(data.rows.take(chosen), data.targets[chosen])
    loss, correct = step.sum_over_workers(total) / len(data.validation)
    return float(loss), float(correct)


def _seed(data: TrainingData, epoch: int) -> int:
    """Return the seed of one epoch of one phase."""
    seed, phase = data.seed
    return int(np.random.SeedSequence((seed, *phase.encode(), epoch)).generate_state(1)[0])
