"""The state of a training run, and its Ray Train checkpoints of plain arrays and JSON."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ray.train import Checkpoint

Weights = list[npt.NDArray[Any]]
EpochRow = dict[str, Any]
"""The metrics of one epoch: a row of the training history."""

_ARRAYS, _PROGRESS = "arrays.npz", "progress.json"


@dataclass(frozen=True)
class TrainingState:
    """The state of a run after an epoch, with the best weights so far.

    The best epoch has the highest validation accuracy; among equals, the lowest validation loss. It
    is carried over to the next phase, so fine-tuning cannot make a run worse. With a schedule
    that ends at a learning rate of zero, the last epoch is kept instead. The validation split then
    has not selected the weights, so its metrics are unbiased.
    """

    phase: int = 0
    epoch: int = 0
    """Completed epochs of this phase."""
    weights: Weights = field(default_factory=list)
    """All variables of the phase's model, including the seeds of its dropout layers. Empty before
    the first epoch of a phase."""
    optimizer: Weights = field(default_factory=list)
    best_weights: Weights = field(default_factory=list)
    """The best variables of the phase's model, in the order of `weights`."""
    best_epoch: int = 0
    """The best epoch of this phase; 0 when an earlier phase was better."""
    best_score: tuple[float, float] = (-1.0, 0.0)
    """Validation accuracy and negative validation loss."""
    history: tuple[EpochRow, ...] = ()

    def after(
        self, row: EpochRow, weights: Weights, optimizer: Weights, *, keep_last: bool = False
    ) -> TrainingState:
        """Return the state after one more epoch.

        Args:
            keep_last: take the new epoch as the best, whatever its score.
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

    def next_phase(self, best_weights: Weights) -> TrainingState:
        """Return the state at the start of the next phase.

        Args:
            best_weights: the best weights so far, as variables of the next phase's model.
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
        """Return whether `patience` epochs have passed since the best one."""
        return patience is not None and self.epoch - self.best_epoch >= patience


@contextmanager
def save(state: TrainingState, folder: Path) -> Iterator[Checkpoint]:
    """Yield a Ray Train checkpoint of `state`, in a new folder that is removed after the block.

    Args:
        folder: that of the run, whose disk has the space. The system's temporary folder may be
            small, or not writable.
    """
    from ray.train import Checkpoint

    lists = {"weights": state.weights, "optimizer": state.optimizer, "best": state.best_weights}
    arrays = {
        f"{name}-{number}": array
        for name, arrays in lists.items()
        for number, array in enumerate(arrays)
    }
    with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=folder) as name:
        new = Path(name)
        np.savez(new / _ARRAYS, **arrays)  # type: ignore[arg-type]
        progress = {
            "phase": state.phase,
            "epoch": state.epoch,
            "best_epoch": state.best_epoch,
            "best_score": state.best_score,
            "history": state.history,
            "lengths": {name: len(arrays) for name, arrays in lists.items()},
        }
        (new / _PROGRESS).write_text(json.dumps(progress))
        yield Checkpoint.from_directory(new)


def is_complete(folder: Path) -> bool:
    """Return whether `load` can read the checkpoint in a folder."""
    try:
        load(folder)
    # NumPy raises them for files that are not archives, or that lack an array.
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return False
    return True


def load(folder: Path) -> TrainingState:
    """Return the state of a checkpoint from `save`."""
    progress = json.loads((folder / _PROGRESS).read_text())
    # NumPy does not close a damaged file that it has opened itself.
    with (folder / _ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        weights, optimizer, best = (
            [arrays[f"{name}-{number}"] for number in range(length)]
            for name, length in progress["lengths"].items()
        )
    return TrainingState(
        progress["phase"],
        progress["epoch"],
        weights,
        optimizer,
        best,
        progress["best_epoch"],
        tuple(progress["best_score"]),
        tuple(progress["history"]),
    )


def copy_values(variables: Sequence[Any]) -> Weights:
    """Return copies of the values of Keras variables."""
    return [np.array(variable) for variable in variables]


def assign(variables: Sequence[Any], values: Weights) -> None:
    """Set Keras variables, in order."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
