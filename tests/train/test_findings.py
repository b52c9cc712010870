"""Findings: who is as good as the best, and which of them is taken."""

from __future__ import annotations

import numpy as np
import pytest

from pintag.errors import TrainingError
from pintag.results import CrossValidation, Family, Figure
from train import findings
from train.findings import Finding
from train.learners import Outcome
from train.plan import Candidate

pytestmark = pytest.mark.ray

TARGETS = np.arange(100) % 2


def finding(name: str, wrong: int, family: Family = "transfer") -> Finding:
    """A model that has the first so many images of the validation split wrong."""
    said = np.where(np.arange(100) < wrong, 1 - TARGETS, TARGETS)
    logits = np.eye(2, dtype=np.float32)[said]
    candidate = Candidate(name, name, family, "", ({},), ())
    outcome = Outcome(logits, logits[:0], training_accuracy=1.0, parameters=1)
    return Finding(candidate, 0, outcome, (1 - wrong / 100, -1.0))


def folds(name: str, mean: float) -> CrossValidation:
    figure = Figure(value=mean, low=mean, high=mean)
    return CrossValidation(
        entry=name, folds=[figure], mean=figure, deviation=0.0, confusion=[[1, 0], [0, 1]]
    )


def names(found: list[Finding]) -> list[str]:
    return [each.name for each in found]


def test_contenders_are_those_that_validation_cannot_tell_from_the_best() -> None:
    # Six images that the best alone has right make p = 0.03, five 0.06.
    found = [finding("best", 4), finding("near", 9), finding("far", 10)]
    assert names(findings.contenders(found, TARGETS)) == ["best", "near"]


def test_a_machine_that_cannot_be_served_contends_with_nobody() -> None:
    found = [finding("svm", 0, "svm"), finding("network", 30)]
    assert names(findings.contenders(found, TARGETS)) == ["network"]
    assert findings.contenders(found[:1], TARGETS) == []
    with pytest.raises(TrainingError, match="nothing to serve"):
        findings.winner([], [])


def test_among_contenders_the_mean_over_the_folds_counts() -> None:
    lucky, steady = finding("lucky", 1), finding("steady", 4)
    assert findings.winner([lucky, steady], []).name == "lucky"
    means = [folds("lucky", 0.93), folds("steady", 0.95)]
    assert findings.winner([lucky, steady], means).name == "steady"


def test_what_is_not_cross_validated_counts_with_its_validation_accuracy() -> None:
    steady, tuned = finding("steady", 2), finding("tuned", 4, "fine_tuned")
    assert findings.winner([steady, tuned], [folds("steady", 0.97)]).name == "steady"
    assert findings.winner([steady, tuned], [folds("steady", 0.95)]).name == "tuned"
