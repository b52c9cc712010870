"""Builds the two documents of a study, `Results` and `Timings`, from its store."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from pintag.core import text
from pintag.data.dataset import TEST, VALIDATION, DataSet
from pintag.data.leaks import Leak
from pintag.evaluation import calibration
from pintag.report.results import (
    CrossValidation,
    DataSummary,
    ModelResult,
    PredictionTime,
    ReportedLeak,
    ReportedTrial,
    Timings,
)
from pintag.train.study import best_trials, scoring
from pintag.train.study.best_trials import BestTrial
from pintag.train.study.plan import ComparedModel
from pintag.train.study.study_dataset import StudyDataset
from pintag.train.study.study_store import StudyStore

_FLOAT32_BYTES = 4


def model_result(
    model: ComparedModel,
    best: BestTrial | None,
    store: StudyStore,
    dataset: StudyDataset,
    failures: Mapping[str, str],
) -> ModelResult:
    """Return all results of one model.

    Args:
        best: its best trial; None if all its trials failed.
        failures: the reasons of failed trials, by name.
    """
    trials = [
        _reported_trial(model, number, store, dataset, failures)
        for number in range(len(model.learners))
    ]
    result = ModelResult(
        name=model.name,
        title=model.title,
        family=model.family,
        note=model.note,
        trials=trials,
    )
    if best is None:
        return result.model_copy(update={"failure": trials[0].failure})
    return result.model_copy(update=_best_figures(best, store, dataset))


def _best_figures(best: BestTrial, store: StudyStore, dataset: StudyDataset) -> dict[str, object]:
    """Return the fields of a `ModelResult` that come from its best trial."""
    logits, labels = best.result, dataset.data.labels
    targets = dataset.targets_of(VALIDATION)
    temperature = calibration.fit_temperature(logits.validation, targets)
    # A trial fits the head alone; the timing stage counts the parameters of the whole network.
    parameters = int(store.recorded("parameters").get(best.name, logits.parameters))
    return {
        "chosen": best.number,
        "history": list(logits.history),
        "validation": scoring.scores(logits.validation, temperature, targets, labels),
        "test": scoring.scores(logits.test, temperature, dataset.targets_of(TEST), labels),
        "parameters": parameters,
        "bytes": _FLOAT32_BYTES * parameters,
    }


def _reported_trial(
    model: ComparedModel,
    number: int,
    store: StudyStore,
    dataset: StudyDataset,
    failures: Mapping[str, str],
) -> ReportedTrial:
    name, settings = model.trial_name(number), model.settings[number]
    if name not in store.trial_results:
        return ReportedTrial(settings=settings, failure=failures.get(name, "it was not tried"))
    result = store.trial_results.read(name)
    targets = dataset.targets_of(VALIDATION)
    return ReportedTrial(
        settings=settings,
        training_accuracy=result.training_accuracy,
        validation_accuracy=scoring.accuracy(result.validation, targets),
    )


def data_summary(data: DataSet) -> DataSummary:
    """Return the description of the data set."""
    return DataSummary(
        name=data.root.name,
        fingerprint=data.fingerprint,
        labels=list(data.labels),
        counts={split: data.counts(split) for split in data.splits},
        synthetic=data.is_synthetic,
    )


def reported_leak(data: DataSet, leak: Leak, *, moved: bool) -> ReportedLeak:
    """Return a leak with paths relative to the data set's folder."""
    first, second = (
        text.valid(example.path.relative_to(data.root).as_posix())
        for _, example in (leak.first, leak.second)
    )
    kind = "equal" if leak.is_equal else "similar"
    return ReportedLeak(first=first, second=second, kind=kind, distance=leak.distance, moved=moved)


def timings(
    best: Sequence[BestTrial],
    store: StudyStore,
    dataset: StudyDataset,
    folds: Sequence[CrossValidation],
    budget: float,
) -> Timings:
    """Return the wall seconds of the study, and the best model within the latency budget.

    Args:
        budget: seconds per image with a batch size of 1.
    """
    predictions = _prediction_times(store)
    fast = {time.entry for time in predictions if time.batch == 1 and time.seconds <= budget}
    contenders = best_trials.contenders(
        [trial for trial in best if trial.name in fast], dataset.targets_of(VALIDATION)
    )
    return Timings(
        machine=_machine(),
        stages=store.recorded("stages"),
        features=store.recorded("features"),
        training={trial.name: trial.result.seconds for trial in best},
        predictions=predictions,
        latency_budget=budget,
        fast_best=best_trials.winner(contenders, folds).name if contenders else None,
    )


def _prediction_times(store: StudyStore) -> list[PredictionTime]:
    return [
        PredictionTime(entry=name, engine=engine, batch=int(batch), seconds=seconds)
        for name, engines in store.recorded("predictions").items()
        for engine, batches in engines.items()
        for batch, seconds in batches.items()
    ]


def _machine() -> str:
    """Return the name of the CPU, the number of cores, the system and Python's version."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        models = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
        name = next(models, name)
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )
