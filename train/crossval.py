"""Cross-validation: a learner fitted again and again, each time without one part of the images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from pintag.errors import TrainingError
from train.config import SvmConfig, TrainConfig
from train.epochs import Indices
from train.learners import Targets
from train.trials import Trial


def trials(
    name: str,
    learner: SvmConfig | TrainConfig,
    sees: tuple[str, ...],
    targets: Targets,
    groups: npt.NDArray[np.integer],
    places: Indices,
    folds: int,
    seed: int,
) -> list[Trial]:
    """One trial for each fold: tested on it, its epoch chosen by the fold before it.

    Fitted on all other folds. Stratified by label; what is of one group, the same picture twice, is
    of one fold.

    Args:
        name: what the trials' names begin with.
        sees: the names of what the learner sees.
        targets: `int64[N]`, of every row.
        groups: `int[N]`, of every row.
        places: the rows that are divided; no other is seen.

    Raises:
        TrainingError: there are fewer images of every label than folds.
    """
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    try:
        divided = splitter.split(places, targets[places], groups[places])
        held = [places[fold] for _, fold in divided]
    except ValueError as error:
        raise TrainingError(f"cross_validation.folds: {error}") from error
    return [
        Trial(
            name=f"{name}.fold.{number:02}",
            learner=learner,
            sees=sees,
            train=np.setdiff1d(places, np.concatenate([held[number - 1], held[number]])),
            validation=held[number - 1],
            test=held[number],
        )
        for number in range(folds)
    ]
