"""Cross-validation: a learner fitted again and again, each time without one part of the images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from pintag.errors import TrainingError
from train.config import SvmConfig, TrainConfig
from train.learners import Targets
from train.trials import Trial


def trials(
    learner: SvmConfig | TrainConfig,
    sees: tuple[str, ...],
    targets: Targets,
    groups: npt.NDArray[np.integer],
    folds: int,
    seed: int,
) -> list[Trial]:
    """One trial for each fold: tested on it, its epoch chosen by the fold before it.

    Fitted on all other folds. Stratified by label; what is of one group, the same picture twice, is
    of one fold.

    Args:
        sees: the names of what the learner sees.
        groups: `int[N]`, of every row.

    Raises:
        TrainingError: there are fewer images of every label than folds.
    """
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    try:
        held = [places for _, places in splitter.split(targets, targets, groups)]
    except ValueError as error:
        raise TrainingError(f"cross_validation.folds: {error}") from error
    everything = np.arange(len(targets))
    return [
        Trial(
            name=f"fold.{number:02}",
            learner=learner,
            sees=sees,
            train=np.setdiff1d(everything, np.concatenate([held[number - 1], held[number]])),
            validation=held[number - 1],
            test=held[number],
        )
        for number in range(folds)
    ]
