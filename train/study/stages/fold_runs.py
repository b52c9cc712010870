"""Stage 5: cross-validates the contenders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pintag.data.dataset import TRAIN, VALIDATION
from pintag.report.results import CrossValidation
from pintag.train.study import cross_validation, scoring
from pintag.train.study.best_trials import BestTrial
from pintag.train.study.stages.features import Features
from pintag.train.study.stages.leak_search import CheckedData
from pintag.train.study.stages.stage import Stage, StudyContext, complete
from pintag.train.study.stages.trial_runs import TrialRuns
from pintag.train.study.trials import Trial


class FoldRuns(Stage[list[CrossValidation]]):
    """Fits every contender once per fold, except fine-tuned models, which would take hours."""

    def __init__(
        self, context: StudyContext, checked: CheckedData, contenders: Sequence[BestTrial]
    ) -> None:
        """Divide the training and validation images into folds.

        Raises:
            TrainingError: a label has fewer images than there are folds.
        """
        self._context, self._dataset = context, checked.dataset
        self._folds = _fold_trials(context, checked, contenders)

    def is_done(self) -> bool:
        """Return whether every fold has its result."""
        results = self._context.store.trial_results
        return all(trial.name in results for trial in self._trials())

    def run(self) -> None:
        trials = self._trials()
        inputs = complete(Features(self._context, self._dataset, trials))
        complete(TrialRuns(self._context, "cross-validation", self._dataset, trials, inputs))

    def result(self) -> list[CrossValidation]:
        """Return the cross-validation of each model whose folds have all succeeded."""
        results = self._context.store.trial_results
        return [
            self._combined(name, folds)
            for name, folds in self._folds.items()
            if all(trial.name in results for trial in folds)
        ]

    def _trials(self) -> list[Trial]:
        return [trial for folds in self._folds.values() for trial in folds]

    def _combined(self, name: str, folds: Sequence[Trial]) -> CrossValidation:
        results, targets = self._context.store.trial_results, self._dataset.targets
        tested = [(results.read(trial.name).test, targets[trial.test]) for trial in folds]
        return scoring.cross_validation(name, tested, self._dataset.data.labels)


def _fold_trials(
    context: StudyContext, checked: CheckedData, contenders: Sequence[BestTrial]
) -> dict[str, list[Trial]]:
    """Return the trials of all folds of each contender."""
    config, dataset = context.config.cross_validation, checked.dataset
    if not config.folds:
        return {}
    indices = np.concatenate([dataset.indices[split] for split in (TRAIN, VALIDATION)])
    return {
        best.name: cross_validation.fold_trials(
            best.name,
            best.learner,
            dataset.inputs(best.learner),
            dataset.targets,
            checked.groups,
            indices,
            config.folds,
            config.seed,
        )
        for best in contenders
        if best.model.family != "fine_tuned"
    }
