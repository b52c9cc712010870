"""Selects the best trial of each model, the contenders, and the winner of a study.

Every choice uses the validation split. The test split is only reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pintag.core.errors import TrainingError
from pintag.core.types import Targets
from pintag.data.dataset import VALIDATION
from pintag.evaluation import significance
from pintag.report.results import CrossValidation
from pintag.train.config import SvmConfig, TrainConfig
from pintag.train.study import scoring
from pintag.train.study.learners import TrialResult
from pintag.train.study.plan import ComparedModel
from pintag.train.study.study_dataset import StudyDataset
from pintag.train.study.study_store import StudyStore


@dataclass(frozen=True)
class BestTrial:
    """The best trial of a model."""

    model: ComparedModel
    number: int
    """Which of the model's settings."""
    result: TrialResult
    rank: tuple[float, float]
    """See `scoring.rank`."""

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def learner(self) -> SvmConfig | TrainConfig:
        return self.model.learners[self.number]


def find(
    models: Sequence[ComparedModel], store: StudyStore, dataset: StudyDataset
) -> list[BestTrial]:
    """Return the best trial of each model that has a finished trial."""
    targets = dataset.targets_of(VALIDATION)
    results = store.trial_results
    best = []
    for model in models:
        finished = []
        for number in range(len(model.learners)):
            if (name := model.trial_name(number)) in results:
                result = results.read(name)
                rank = scoring.rank(result.validation, targets)
                finished.append(BestTrial(model, number, result, rank))
        if finished:
            best.append(max(finished, key=lambda trial: trial.rank))
    return best


def contenders(best: Sequence[BestTrial], targets: Targets) -> list[BestTrial]:
    """Return the networks whose difference from the best one the validation split cannot show.

    SVMs are left out, because they cannot be served.

    Args:
        targets: the labels of the validation split.
    """
    networks = [trial for trial in best if trial.model.family != "svm"]
    if not networks:
        return []
    first = max(networks, key=lambda trial: trial.rank)
    correct = {trial.name: trial.result.validation.argmax(axis=1) == targets for trial in networks}
    return [
        trial
        for trial in networks
        if not significance.mcnemar(correct[first.name], correct[trial.name]).differs
    ]


def winner(contenders: Sequence[BestTrial], folds: Sequence[CrossValidation]) -> BestTrial:
    """Return the contender with the best mean accuracy of its folds.

    A contender without cross-validation is compared by its validation accuracy.

    Raises:
        TrainingError: there is no contender.
    """
    if not contenders:
        raise TrainingError("no network could be fitted, so there is no model to serve")
    means = {model.entry: model.mean.value for model in folds}
    return max(contenders, key=lambda trial: (means.get(trial.name, trial.rank[0]), trial.rank))
