"""Stage 7: measures the prediction time of every network."""

from __future__ import annotations

from collections.abc import Sequence

from pintag.models import networks
from pintag.train.config import TrainConfig
from pintag.train.study import latency
from pintag.train.study.best_trials import BestTrial
from pintag.train.study.stages.stage import Stage, StudyContext
from pintag.train.study.study_dataset import StudyDataset

_TITLE = "timing predictions"


class PredictionTimes(Stage[None]):
    """Stores the seconds per image and the number of parameters of each network."""

    def __init__(
        self, context: StudyContext, dataset: StudyDataset, best: Sequence[BestTrial]
    ) -> None:
        self._context = context
        self._specs = {
            trial.name: trial.learner.network_spec(dataset.num_labels)
            for trial in best
            if isinstance(trial.learner, TrainConfig)
        }

    def is_done(self) -> bool:
        """Return whether every network is measured."""
        return not self._missing()

    def run(self) -> None:
        store, progress = self._context.store, self._context.progress(_TITLE)
        missing = self._missing()
        for number, name in enumerate(missing, start=1):
            with store.timed(_TITLE):
                store.record("parameters", name, networks.count_parameters(self._specs[name]))
                seconds = latency.seconds_per_image(self._specs[name])
                store.record("predictions", name, seconds)
            progress(number, len(missing))

    def result(self) -> None:
        """Return None; the summary reads the stored times."""

    def _missing(self) -> list[str]:
        recorded = self._context.store.recorded("predictions")
        return [name for name in self._specs if name not in recorded]
