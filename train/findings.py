"""What the trials of a study come to: the best of each model, and of all, as results tell them.

Every choice is made by the validation split; the test split is only reported on.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pintag import calibration, results, significance
from pintag.dataset import TEST, VALIDATION, DataSet
from pintag.errors import TrainingError
from pintag.leaks import Leak
from pintag.results import CrossValidation, Data, Entry, Prediction, Timings
from train import scoring
from train.config import SvmConfig, TrainConfig
from train.learners import Outcome, Targets
from train.ledger import Ledger
from train.material import Material
from train.plan import Candidate


@dataclass(frozen=True)
class Finding:
    """A model's best trial."""

    candidate: Candidate
    number: int
    outcome: Outcome
    rank: tuple[float, float]

    @property
    def name(self) -> str:
        return self.candidate.name

    @property
    def learner(self) -> SvmConfig | TrainConfig:
        return self.candidate.learners[self.number]


def find(candidates: Sequence[Candidate], ledger: Ledger, material: Material) -> list[Finding]:
    """The best trial of each model that has one."""
    targets = material.targets_of(VALIDATION)
    outcomes = ledger.outcomes
    best = []
    for candidate in candidates:
        tried = []
        for number in range(len(candidate.learners)):
            if (name := candidate.trial(number)) in outcomes:
                outcome = outcomes.read(name)
                rank = scoring.rank(outcome.validation, targets)
                tried.append(Finding(candidate, number, outcome, rank))
        best += [max(tried, key=lambda each: each.rank)] if tried else []
    return best


def contenders(findings: Sequence[Finding], targets: Targets) -> list[Finding]:
    """Networks that the validation split cannot tell from the best of them; an SVM is not served.

    Args:
        targets: of the validation split.
    """
    networks = [each for each in findings if each.candidate.family != "svm"]
    if not networks:
        return []
    best = max(networks, key=lambda each: each.rank)
    right = {each.name: each.outcome.validation.argmax(axis=1) == targets for each in networks}
    return [
        each
        for each in networks
        if not significance.mcnemar(right[best.name], right[each.name]).differs
    ]


def winner(contending: Sequence[Finding], folds: Sequence[CrossValidation]) -> Finding:
    """The contender of the best mean over its folds; without folds its validation accuracy counts.

    Raises:
        TrainingError: there is none.
    """
    if not contending:
        raise TrainingError("no network could be fitted: there is nothing to serve")
    means = {each.entry: each.mean.value for each in folds}
    return max(contending, key=lambda each: (means.get(each.name, each.rank[0]), each.rank))


def entry(
    candidate: Candidate,
    best: Finding | None,
    ledger: Ledger,
    material: Material,
    failures: Mapping[str, str],
) -> Entry:
    """All about one model."""
    validation, labels = material.targets_of(VALIDATION), material.data.labels
    trials = [
        _trial(candidate, number, ledger, material, failures)
        for number in range(len(candidate.settings))
    ]
    told = Entry(
        name=candidate.name,
        title=candidate.title,
        family=candidate.family,
        note=candidate.note,
        trials=trials,
    )
    if best is None:
        return told.model_copy(update={"failure": trials[0].failure})
    outcome = best.outcome
    temperature = calibration.fit_temperature(outcome.validation, validation)
    # Of the whole network, where it was built, and not of its head alone.
    parameters = int(ledger.noted("parameters").get(candidate.name, outcome.parameters))
    return told.model_copy(
        update={
            "chosen": best.number,
            "history": list(outcome.history),
            "validation": scoring.scores(outcome.validation, temperature, validation, labels),
            "test": scoring.scores(outcome.test, temperature, material.targets_of(TEST), labels),
            "parameters": parameters,
            # float32 each.
            "bytes": 4 * parameters,
        }
    )


def _trial(
    candidate: Candidate,
    number: int,
    ledger: Ledger,
    material: Material,
    failures: Mapping[str, str],
) -> results.Trial:
    name, settings = candidate.trial(number), candidate.settings[number]
    if name not in ledger.outcomes:
        return results.Trial(settings=settings, failure=failures.get(name, "it was not tried"))
    outcome = ledger.outcomes.read(name)
    targets = material.targets_of(VALIDATION)
    return results.Trial(
        settings=settings,
        training_accuracy=outcome.training_accuracy,
        validation_accuracy=scoring.accuracy(outcome.validation, targets),
    )


def described(data: DataSet) -> Data:
    """What was learnt from."""
    return Data(
        name=data.root.name,
        fingerprint=data.fingerprint,
        labels=list(data.labels),
        counts={split: data.counts(split) for split in data.splits},
        synthetic=data.is_synthetic,
    )


def leak(data: DataSet, found: Leak, *, moved: bool) -> results.Leak:
    """A leak as results tell it."""
    first, second = (
        each.path.relative_to(data.root).as_posix() for _, each in (found.first, found.second)
    )
    kind = "equal" if found.is_equal else "similar"
    return results.Leak(first=first, second=second, kind=kind, distance=found.distance, moved=moved)


def timings(
    findings: Sequence[Finding],
    ledger: Ledger,
    material: Material,
    folds: Sequence[CrossValidation],
    budget: float,
) -> Timings:
    """What the study took; the best within the budget is of those that were timed."""
    predictions = [
        Prediction(entry=name, engine=engine, batch=int(batch), seconds=seconds)
        for name, engines in ledger.noted("predictions").items()
        for engine, batches in engines.items()
        for batch, seconds in batches.items()
    ]
    fast = {each.entry for each in predictions if each.batch == 1 and each.seconds <= budget}
    within = contenders(
        [each for each in findings if each.name in fast], material.targets_of(VALIDATION)
    )
    return Timings(
        machine=_machine(),
        stages=ledger.noted("stages"),
        features=ledger.noted("features"),
        training={each.name: each.outcome.seconds for each in findings},
        predictions=predictions,
        latency_budget=budget,
        fast_best=winner(within, folds).name if within else None,
    )


def _machine() -> str:
    """The processor by its name, where the system tells, and how many cores there are."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((x.partition(": ")[2] for x in lines if x.startswith("model name")), name)
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )
