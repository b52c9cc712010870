"""Where a run stands, as plain arrays and JSON: what a restarted worker goes on from."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ray.train import Checkpoint

Weights = list[npt.NDArray[Any]]
Row = dict[str, Any]

_ARRAYS, _PROGRESS = "arrays.npz", "progress.json"


@dataclass(frozen=True)
class State:
    """The position between two epochs, and the best network so far.

    The best is the one of the highest validation accuracy; of equals, that of the lowest
    validation loss. It carries over from phase to phase, so fine-tuning cannot make a run worse.
    Where the learning rate falls to zero the last is the best: it was not chosen by the validation
    split, which then measures it without flattery.
    """

    phase: int = 0
    epoch: int = 0
    """Epochs of this phase that are done."""
    weights: Weights = field(default_factory=list)
    """Every variable of the phase's model, the seeds of its dropout among them; empty before its
    first epoch."""
    optimizer: Weights = field(default_factory=list)
    best_weights: Weights = field(default_factory=list)
    """Of the phase's model, like `weights`."""
    best_epoch: int = 0
    """The epoch of this phase that was best; 0 when an earlier phase was better than all of it."""
    best_score: tuple[float, float] = (-1.0, 0.0)
    """Validation accuracy, and minus the validation loss."""
    history: tuple[Row, ...] = ()

    def after(
        self, row: Row, weights: Weights, optimizer: Weights, *, keep_last: bool = False
    ) -> State:
        """The state one epoch later.

        Args:
            keep_last: the new epoch is the best, whatever its score.
        """
        score = (row["validation_accuracy"], -row["validation_loss"])
        state = replace(
            self,
            epoch=self.epoch + 1,
            weights=weights,
            optimizer=optimizer,
            history=(*self.history, row),
        )
        if score <= self.best_score and not keep_last:
            return state
        return replace(
            state,
            best_weights=weights,
            best_epoch=state.epoch,
            best_score=score,
        )

    def next_phase(self, best_weights: Weights) -> State:
        """The state at the beginning of the next phase.

        Args:
            best_weights: the best so far, as the weights of the next phase's model.
        """
        return replace(
            self,
            phase=self.phase + 1,
            epoch=0,
            weights=[],
            optimizer=[],
            best_weights=best_weights,
            best_epoch=0,
        )

    def is_stale(self, patience: int | None) -> bool:
        """Whether `patience` epochs have passed since the best one."""
        return patience is not None and self.epoch - self.best_epoch >= patience


@contextmanager
def save(state: State) -> Iterator[Checkpoint]:
    """A Ray Train checkpoint of `state`, in a folder that lasts as long as the block."""
    lists = {"weights": state.weights, "optimizer": state.optimizer, "best": state.best_weights}
    arrays = {
        f"{name}-{number}": array
        for name, each in lists.items()
        for number, array in enumerate(each)
    }
    with tempfile.TemporaryDirectory(prefix="pintag-checkpoint-") as name:
        folder = Path(name)
        np.savez(folder / _ARRAYS, **arrays)  # type: ignore[arg-type]
        progress = {
            "phase": state.phase,
            "epoch": state.epoch,
            "best_epoch": state.best_epoch,
            "best_score": state.best_score,
            "history": state.history,
            "lengths": {name: len(each) for name, each in lists.items()},
        }
        (folder / _PROGRESS).write_text(json.dumps(progress))
        yield Checkpoint.from_directory(folder)


def load(checkpoint: Checkpoint) -> State:
    """Read a checkpoint back."""
    with checkpoint.as_directory() as name:
        progress = json.loads((Path(name) / _PROGRESS).read_text())
        with np.load(Path(name) / _ARRAYS, allow_pickle=False) as arrays:
            weights, optimizer, best = (
                [arrays[f"{name}-{number}"] for number in range(length)]
                for name, length in progress["lengths"].items()
            )
    return State(
        progress["phase"],
        progress["epoch"],
        weights,
        optimizer,
        best,
        progress["best_epoch"],
        tuple(progress["best_score"]),
        tuple(progress["history"]),
    )


def values(variables: Sequence[Any]) -> Weights:
    """Copies of Keras variables."""
    return [np.array(variable) for variable in variables]


def assign(variables: Sequence[Any], arrays: Weights) -> None:
    """Set Keras variables, in order."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
