"""Stage 4: fits the fine-tuned models with Ray Train, each into its own bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pintag.core.errors import PintagError
from pintag.data.dataset import TEST, TRAIN, VALIDATION
from pintag.evaluation import metrics
from pintag.models import bundle
from pintag.models.bundle import ModelBundle
from pintag.models.engines.tensorflow import TensorFlowEngine
from pintag.models.manifest import MANIFEST
from pintag.train.config import TrainConfig
from pintag.train.fit import experiment
from pintag.train.fit.workspace import Workspace
from pintag.train.study.learners import TrialResult
from pintag.train.study.plan import ComparedModel
from pintag.train.study.stages.stage import Stage, StudyContext
from pintag.train.study.stages.trial_runs import FailedTrials
from pintag.train.study.study_dataset import StudyDataset
from pintag.train.study.trial_results import encode


class FineTuning(Stage[FailedTrials]):
    """Fits each fine-tuned model once, and stores its predictions like the result of a trial."""

    def __init__(
        self, context: StudyContext, dataset: StudyDataset, models: Sequence[ComparedModel]
    ) -> None:
        self._context, self._dataset = context, dataset
        self._models = [model for model in models if model.family == "fine_tuned"]
        self._failures: FailedTrials = {}

    def is_done(self) -> bool:
        """Return whether every model has its result."""
        return not self._unfinished()

    def run(self) -> None:
        store = self._context.store
        for model in self._unfinished():
            name = model.trial_name(0)
            (learner,) = model.learners
            assert isinstance(learner, TrainConfig)
            try:
                with store.timed(f"fitting {model.name}"):
                    fitted = fit_bundle(
                        self._context, self._dataset, learner, store.model(model.name)
                    )
            except PintagError as error:
                self._failures[name] = str(error)
            else:
                store.trial_results.write(name, encode(_trial_result(fitted, self._dataset)))

    def result(self) -> FailedTrials:
        return self._failures

    def _unfinished(self) -> list[ComparedModel]:
        results = self._context.store.trial_results
        return [model for model in self._models if model.trial_name(0) not in results]


def fit_bundle(
    context: StudyContext, dataset: StudyDataset, learner: TrainConfig, out: Path
) -> ModelBundle:
    """Return the bundle at `out`; fit it first if it is missing, or resume an unfinished fit.

    Raises:
        PintagError: the fit failed.
    """
    if (out / MANIFEST).exists():
        return bundle.load(out)
    is_unfinished = Workspace(out).folder.exists()
    config = learner.model_copy(update={"cache_dir": dataset.cache})

    def on_progress(message: dict[str, Any]) -> None:
        if message["stage"] == "training":
            title = f"fitting {out.name}, {message['phase']}"
            context.on_progress(title, message["epoch"], message["epochs"])

    out.parent.mkdir(parents=True, exist_ok=True)
    return experiment.fit(config, dataset.data, out, resume=is_unfinished, on_progress=on_progress)


def _trial_result(fitted: ModelBundle, dataset: StudyDataset) -> TrialResult:
    """Return a bundle's predictions of all splits in the form of a trial's result."""
    network = fitted.network()
    engine = TensorFlowEngine(network)
    splits = dataset.data.splits
    logits = {
        split: metrics.predict(engine, splits[split]).logits for split in (TRAIN, VALIDATION, TEST)
    }
    correct = logits[TRAIN].argmax(axis=1) == dataset.targets_of(TRAIN)
    history = json.loads((fitted.path / "history.json").read_text())
    return TrialResult(
        validation=logits[VALIDATION],
        test=logits[TEST],
        training_accuracy=float(correct.mean()),
        parameters=int(network.count_params()),
        history=tuple(
            {key: value for key, value in row.items() if key not in ("step_losses", "seconds")}
            for row in history
        ),
        seconds=float(fitted.manifest.training["seconds"]["fit"]),
    )
