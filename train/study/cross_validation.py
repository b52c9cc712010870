"""Cross-validation: trials of one learner, each with a different part of the images held out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from pintag.core.errors import TrainingError
from pintag.core.types import Targets
from pintag.train.config import SvmConfig, TrainConfig
from pintag.train.fit.epochs import Indices
from pintag.train.study.trials import Trial


def fold_trials(
    name: str,
    learner: SvmConfig | TrainConfig,
    inputs: tuple[str, ...],
    targets: Targets,
    groups: npt.NDArray[np.integer],
    indices: Indices,
    folds: int,
    seed: int,
) -> list[Trial]:
    """Return one trial per fold: tested on this fold, and trained on all folds but two.

    The previous fold is its validation split, which chooses the best epoch. Folds are stratified by
    label. Rows of one group, such as copies of one image, are in the same fold.

    Args:
        name: the prefix of the trials' names.
        targets: `int64[N]`: the label of every row.
        groups: `int[N]`: the group of every row.
        indices: the rows that are divided into folds.

    Raises:
        TrainingError: a label has fewer images than there are folds.
    """
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    try:
        parts = splitter.split(indices, targets[indices], groups[indices])
        held_out = [indices[fold] for _, fold in parts]
    except ValueError as error:
        raise TrainingError(f"cross_validation.folds: {error}") from error
    names = [f"{fold_prefix(name)}{number:02}" for number in range(folds)]
    previous = [held_out[-1], *held_out[:-1]]
    return [
        Trial(trial, learner, inputs, _without(indices, validation, test), validation, test)
        for trial, validation, test in zip(names, previous, held_out, strict=True)
    ]


def fold_prefix(name: str) -> str:
    """Return what the names of a model's fold trials start with."""
    return f"{name}.fold."


def _without(indices: Indices, *parts: Indices) -> Indices:
    return np.setdiff1d(indices, np.concatenate(parts))
