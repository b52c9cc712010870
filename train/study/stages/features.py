"""Stage 2: computes the input arrays of trials, unless they are cached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from pintag.core.errors import PintagError
from pintag.train.study.extraction import Extraction
from pintag.train.study.stages.stage import Stage, StudyContext
from pintag.train.study.study_dataset import StudyDataset
from pintag.train.study.trials import Trial


@dataclass(frozen=True)
class TrialInputs:
    """The input arrays of all trials that have no result yet."""

    arrays: Mapping[str, npt.NDArray[Any]]
    """`[N, ...]` by key."""
    failures: Mapping[str, str]
    """The reason for each trial whose inputs could not be computed, by the trial's name."""


class Features(Stage[TrialInputs]):
    """Computes features and pixels with Ray Data. The cache keeps them between studies."""

    def __init__(
        self, context: StudyContext, dataset: StudyDataset, trials: Sequence[Trial]
    ) -> None:
        self._context, self._dataset = context, dataset
        results = context.store.trial_results
        self._unfinished = [trial for trial in trials if trial.name not in results]
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._failures: dict[str, str] = {}

    def is_done(self) -> bool:
        """Return whether every trial has its result, so that no inputs are needed."""
        return not self._unfinished

    def run(self) -> None:
        extractions = {
            self._dataset.key(extraction): extraction
            for trial in self._unfinished
            for extraction in self._dataset.extractions(trial.learner)
        }
        for key, extraction in extractions.items():
            try:
                self._arrays[key] = self._rows(extraction)
            except PintagError as error:
                affected = (trial.name for trial in self._unfinished if key in trial.inputs)
                self._failures |= dict.fromkeys(affected, str(error))

    def result(self) -> TrialInputs:
        return TrialInputs(self._arrays, self._failures)

    def _rows(self, extraction: Extraction) -> npt.NDArray[Any]:
        title, store = extraction.title, self._context.store
        with store.timed("features"):
            progress = self._context.progress(f"features: {title}")
            rows = self._dataset.rows(extraction, progress)
        store.record("features", title, self._dataset.seconds(extraction))
        return rows
