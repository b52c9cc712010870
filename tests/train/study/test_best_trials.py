"""Best trials: the contenders, and which of them wins."""

from __future__ import annotations

import numpy as np
import pytest

from pintag.core.errors import TrainingError
from pintag.report.results import CrossValidation, Family, IntervalFigure
from pintag.train.study import best_trials
from pintag.train.study.best_trials import BestTrial
from pintag.train.study.learners import TrialResult
from pintag.train.study.plan import ComparedModel

pytestmark = pytest.mark.ray

TARGETS = np.arange(100) % 2


def best_trial(name: str, wrong: int, family: Family = "transfer") -> BestTrial:
    """Return a model that misclassifies the first `wrong` images of the validation split."""
    predicted = np.where(np.arange(100) < wrong, 1 - TARGETS, TARGETS)
    logits = np.eye(2, dtype=np.float32)[predicted]
    model = ComparedModel(name, name, family, "", ({},), ())
    result = TrialResult(logits, logits[:0], training_accuracy=1.0, parameters=1)
    return BestTrial(model, 0, result, (1 - wrong / 100, -1.0))


def folds(name: str, mean: float) -> CrossValidation:
    figure = IntervalFigure(value=mean, low=mean, high=mean)
    return CrossValidation(
        entry=name, folds=[figure], mean=figure, deviation=0.0, confusion=[[1, 0], [0, 1]]
    )


def names(trials: list[BestTrial]) -> list[str]:
    return [trial.name for trial in trials]


def test_contenders_do_not_differ_significantly_from_the_best() -> None:
    # If only the best is right on six images, p = 0.03; on five images, p = 0.06.
    trials = [best_trial("best", 4), best_trial("near", 9), best_trial("far", 10)]
    assert names(best_trials.contenders(trials, TARGETS)) == ["best", "near"]


def test_an_svm_is_never_a_contender() -> None:
    trials = [best_trial("svm", 0, "svm"), best_trial("network", 30)]
    assert names(best_trials.contenders(trials, TARGETS)) == ["network"]
    assert best_trials.contenders(trials[:1], TARGETS) == []
    with pytest.raises(TrainingError, match="no model to serve"):
        best_trials.winner([], [])


def test_the_contender_with_the_best_mean_of_its_folds_wins() -> None:
    lucky, steady = best_trial("lucky", 1), best_trial("steady", 4)
    assert best_trials.winner([lucky, steady], []).name == "lucky"
    means = [folds("lucky", 0.93), folds("steady", 0.95)]
    assert best_trials.winner([lucky, steady], means).name == "steady"


def test_without_cross_validation_the_validation_accuracy_counts() -> None:
    steady, tuned = best_trial("steady", 2), best_trial("tuned", 4, "fine_tuned")
    assert best_trials.winner([steady, tuned], [folds("steady", 0.97)]).name == "steady"
    assert best_trials.winner([steady, tuned], [folds("steady", 0.95)]).name == "tuned"
