"""Epochs of one model over rows: every training row once, in shuffled global batches.

All workers shuffle alike and take their share of each batch, so that their number does not change
what is learnt (see `train.step`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from train.step import Array, Step

Indices = npt.NDArray[np.int64]

_EVALUATION_BATCH = 64


class Rows(Protocol):
    """What is trained on, by its place: features, or the pixels of images."""

    def take(self, indices: Indices) -> Array: ...


class Views(Protocol):
    """What rows look like while they are trained on: otherwise in every epoch."""

    def take(self, indices: Indices, epoch: int) -> Array: ...


@dataclass(frozen=True)
class Course:
    """What is learnt from, in which order."""

    rows: Rows
    targets: npt.NDArray[np.int64]
    """`int64[N]`, of every row."""
    train: Indices
    """The rows to train on."""
    validation: Indices
    batch_size: int
    """Rows a step over all workers together."""
    seed: tuple[int, str]
    """Of the run, and the name of the phase."""
    weights: npt.NDArray[np.float32]
    """`float32[C]`: how much a row of each label counts."""
    views: Views | None = None
    """Of the rows to train on; None: the rows as they are."""
    rank: int = 0
    world: int = 1

    @property
    def steps(self) -> int:
        """Of one epoch."""
        return -(-len(self.train) // self.batch_size)


def label_weights(
    targets: npt.NDArray[np.int64], labels: int, kind: Literal["none", "balanced"]
) -> npt.NDArray[np.float32]:
    """`float32[C]`: ones, or weights that let every label count alike and average to one."""
    weights = np.ones(labels, np.float32)
    if kind == "balanced":
        counts = Counter(targets.tolist())
        for target, count in counts.items():
            weights[target] = len(targets) / (len(counts) * count)
    return weights


def run(course: Course, epoch: int, step: Step) -> dict[str, Any]:
    """One epoch, counted from 0, and what came of it; every worker must call it."""
    started = time.perf_counter()
    results = []
    for batch in _batches(course, epoch):
        mine = batch[course.rank :: course.world]
        targets = course.targets[mine]
        rows = course.views.take(mine, epoch) if course.views else course.rows.take(mine)
        results.append(step.train(rows, targets, course.weights[targets], len(batch)))
    losses = [float(loss) for loss, _ in results]
    validation_loss, validation_accuracy = _validate(course, step)
    return {
        "epoch": epoch + 1,
        "loss": float(np.mean(losses)),
        "accuracy": sum(float(hits) for _, hits in results) / len(course.train),
        "validation_loss": validation_loss,
        "validation_accuracy": validation_accuracy,
        "seconds": time.perf_counter() - started,
        "step_losses": losses,
    }


def _batches(course: Course, epoch: int) -> Iterator[Indices]:
    order = np.random.default_rng(_seed(course, epoch)).permutation(course.train)
    for start in range(0, len(order), course.batch_size):
        yield order[start : start + course.batch_size]


def _validate(course: Course, step: Step) -> tuple[float, float]:
    mine = course.validation[course.rank :: course.world]
    total = np.zeros(2, np.float32)
    for start in range(0, len(mine), _EVALUATION_BATCH):
        chosen = mine[start : start + _EVALUATION_BATCH]
        total += step.evaluate(course.rows.take(chosen), course.targets[chosen])
    loss, correct = step.add_up(total) / len(course.validation)
    return float(loss), float(correct)


def _seed(course: Course, epoch: int) -> int:
    """One number for one epoch of one phase of a run."""
    seed, phase = course.seed
    return int(np.random.SeedSequence((seed, *phase.encode(), epoch)).generate_state(1)[0])
