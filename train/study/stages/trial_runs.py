"""Stage 3: fits every setting of every model that one process can fit, with Ray Tune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pintag.core.errors import PintagError
from pintag.data.dataset import TEST, TRAIN, VALIDATION
from pintag.train.study import trials
from pintag.train.study.plan import ComparedModel
from pintag.train.study.stages.features import TrialInputs
from pintag.train.study.stages.stage import Stage, StudyContext
from pintag.train.study.study_dataset import StudyDataset
from pintag.train.study.trials import Trial, TrialData, TrialResources

FailedTrials = dict[str, str]
"""The reason of each failed trial, by the trial's name."""


@dataclass(frozen=True)
class PlannedTrials:
    """The trials of a study, and those that cannot run because their weights are missing."""

    trials: list[Trial]
    failures: FailedTrials


def plan_trials(models: Sequence[ComparedModel], dataset: StudyDataset) -> PlannedTrials:
    """Return a trial for each setting of each model, except for fine-tuned models."""
    planned = PlannedTrials([], {})
    rows = [dataset.indices[split] for split in (TRAIN, VALIDATION, TEST)]
    for model in models:
        if model.family == "fine_tuned":
            continue
        for number, learner in enumerate(model.learners):
            name = model.trial_name(number)
            try:
                planned.trials.append(Trial(name, learner, dataset.inputs(learner), *rows))
            except PintagError as error:
                planned.failures[name] = str(error)
    return planned


class TrialRuns(Stage[FailedTrials]):
    """Runs those trials that have no result yet. Failed trials are tried again on resuming."""

    def __init__(
        self,
        context: StudyContext,
        title: str,
        dataset: StudyDataset,
        trials: Sequence[Trial],
        inputs: TrialInputs,
    ) -> None:
        self._context, self._title, self._dataset = context, title, dataset
        self._trials, self._inputs = trials, inputs
        self._failures: FailedTrials = dict(inputs.failures)

    def is_done(self) -> bool:
        """Return whether every trial has its result."""
        results = self._context.store.trial_results
        return all(trial.name in results for trial in self._trials)

    def run(self) -> None:
        store, dataset = self._context.store, self._dataset
        runnable = [trial for trial in self._trials if trial.name not in self._inputs.failures]
        resources = self._context.config.trial
        data = TrialData(self._inputs.arrays, dataset.targets, dataset.num_labels, dataset.digests)
        with store.timed(self._title):
            self._failures |= trials.run(
                runnable,
                data,
                store.trial_results,
                TrialResources(resources.cpus, resources.gpus),
                self._context.progress(self._title),
            )

    def result(self) -> FailedTrials:
        return self._failures
