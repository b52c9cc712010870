"""Stage 6: writes the winner as a bundle that can be served."""

from __future__ import annotations

import shutil

from pintag.core import files
from pintag.models import bundle
from pintag.models.bundle import ModelBundle
from pintag.models.manifest import MANIFEST
from pintag.train.config import TrainConfig
from pintag.train.study.best_trials import BestTrial
from pintag.train.study.stages.fine_tuning import fit_bundle
from pintag.train.study.stages.stage import Stage, StudyContext
from pintag.train.study.study_dataset import StudyDataset


class WinnerBundle(Stage[ModelBundle]):
    """Copies the bundle of a fine-tuned winner, or fits another winner again with Ray Train."""

    def __init__(self, context: StudyContext, dataset: StudyDataset, winner: BestTrial) -> None:
        self._context, self._dataset, self._winner = context, dataset, winner
        self._out = context.store.bundle

    def is_done(self) -> bool:
        """Return whether the bundle is written."""
        return (self._out / MANIFEST).exists()

    def run(self) -> None:
        winner, store = self._winner, self._context.store
        assert isinstance(winner.learner, TrainConfig)
        with store.timed("writing the winner"):
            if winner.model.family == "fine_tuned":
                with files.atomic_folder(self._out) as folder:
                    shutil.copytree(store.model(winner.name), folder, dirs_exist_ok=True)
            else:
                fit_bundle(self._context, self._dataset, winner.learner, self._out)

    def result(self) -> ModelBundle:
        return bundle.load(self._out)
