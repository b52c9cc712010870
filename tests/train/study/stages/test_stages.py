"""Each stage of a study knows what is missing, does only that, and stores it.

The whole sequence of stages runs in `tests/train/study/test_study.py`. Here stages have stored
results, and only the steps that need neither Ray nor a fit are run.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag.core.errors import DataError, WeightsError
from pintag.data import dataset
from pintag.data.dataset import DataSet
from pintag.models.manifest import MANIFEST
from pintag.train.study import latency, plan, sample_explanations, scoring
from pintag.train.study.best_trials import BestTrial
from pintag.train.study.extraction import Extraction
from pintag.train.study.learners import TrialResult
from pintag.train.study.plan import ComparedModel, StudyConfig
from pintag.train.study.stages.explanations import Explanations
from pintag.train.study.stages.features import Features, TrialInputs
from pintag.train.study.stages.fine_tuning import FineTuning
from pintag.train.study.stages.fold_runs import FoldRuns
from pintag.train.study.stages.leak_search import CheckedData, LeakSearch
from pintag.train.study.stages.prediction_times import PredictionTimes
from pintag.train.study.stages.stage import Stage, StudyContext, complete
from pintag.train.study.stages.trial_runs import TrialRuns, plan_trials
from pintag.train.study.stages.winner_bundle import WinnerBundle
from pintag.train.study.study_dataset import StudyDataset
from pintag.train.study.study_store import StudyStore
from pintag.train.study.trial_results import encode
from pintag.train.study.trials import Trial
from tests.train.small_study import CNN, TINY

pytestmark = pytest.mark.ray

CONFIG = StudyConfig.model_validate(
    {
        "models": [
            {"name": "cnn", "train": CNN},
            {"name": "tuned", "train": CNN | {"backbone": TINY, "fine_tune": {"epochs": 1}}},
            {"name": "lost", "train": CNN | {"backbone": TINY | {"weights": "nowhere.h5"}}},
        ],
        "cross_validation": {"folds": 3},
        "gallery": {"per_label": 1},
    }
)
SVM, NETWORK, TUNED, LOST = plan.compared_models(CONFIG)
NOTHING = TrialInputs({}, {})


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stage asks Ray for, without a cluster."""
    monkeypatch.setattr("ray.cluster_resources", dict)


@pytest.fixture
def context(tmp_path: Path) -> StudyContext:
    store = StudyStore(tmp_path / "study")
    store.claim({}, resume=False, overwrite=False)
    return StudyContext(CONFIG, store, lambda title, done, total: None)


@pytest.fixture
def data(sample_dir: Path) -> DataSet:
    return dataset.scan(sample_dir)


@pytest.fixture
def rows(data: DataSet, tmp_path: Path) -> StudyDataset:
    return StudyDataset.of(data, tmp_path / "cache")


def result() -> bytes:
    """The encoded result of a trial with one row in each split."""
    logits = np.array([[1, 0]], np.float32)
    return encode(TrialResult(logits, logits, training_accuracy=1.0, parameters=1))


def best(model: ComparedModel) -> BestTrial:
    nothing = np.empty((0, 2), np.float32)
    return BestTrial(model, 0, TrialResult(nothing, nothing, 1.0, 1), (1.0, 1.0))


class CountedStage(Stage[int]):
    """Its result is how often it has run."""

    def __init__(self, runs: int) -> None:
        self.runs = runs

    def is_done(self) -> bool:
        return self.runs > 0

    def run(self) -> None:
        self.runs += 1

    def result(self) -> int:
        return self.runs


@pytest.mark.parametrize("stored", [0, 1])
def test_a_stage_runs_only_if_it_is_not_done(stored: int) -> None:
    assert complete(CountedStage(stored)) == 1


@pytest.fixture
def leaking(sample_dir: Path, tmp_path: Path) -> DataSet:
    """One test image is also in the training split."""
    folder = Path(shutil.copytree(sample_dir, tmp_path / "leaking"))
    leaked = next((folder / "test" / "food").iterdir())
    shutil.copy(leaked, folder / "train" / "food" / f"copy{leaked.suffix}")
    return dataset.scan(folder)


@pytest.mark.parametrize("drop_leaks", [False, True])
def test_leaks_are_reported_and_moved_on_request(
    context: StudyContext, leaking: DataSet, drop_leaks: bool
) -> None:
    stage = LeakSearch(context, leaking, drop_leaks=drop_leaks)
    assert not stage.is_done()
    checked = complete(stage)
    assert [leak.moved for leak in checked.leaks] == [drop_leaks]
    sizes = {split: len(rows) for split, rows in checked.dataset.indices.items()}
    before = {split: len(examples) for split, examples in leaking.splits.items()}
    moved = int(drop_leaks)
    assert sizes == before | {"train": before["train"] + moved, "test": before["test"] - moved}
    digests = np.array(checked.dataset.digests)
    (twice,) = (each for each in set(digests) if (digests == each).sum() == 2)
    groups = checked.groups[digests == twice]
    assert len(checked.groups) == len(digests)
    assert groups[0] == groups[1]


def test_trials_are_planned_for_all_settings_but_those_of_fine_tuned_models(
    rows: StudyDataset,
) -> None:
    planned = plan_trials([SVM, NETWORK, TUNED, LOST], rows)
    expected = {SVM.trial_name(number) for number in range(len(SVM.settings))} | {"cnn.0"}
    assert {trial.name for trial in planned.trials} == expected
    assert list(planned.failures) == ["lost.0"]
    assert "nowhere.h5" in planned.failures["lost.0"]


def test_inputs_are_computed_only_for_trials_without_a_result(
    context: StudyContext, rows: StudyDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def compute(dataset: StudyDataset, extraction: Extraction, progress: object) -> Any:
        computed.append(extraction)
        return np.zeros((len(dataset.targets), 1))

    monkeypatch.setattr(StudyDataset, "rows", compute)
    trials = plan_trials([NETWORK], rows).trials
    inputs = complete(Features(context, rows, trials))
    assert len(computed) == 1
    assert list(inputs.arrays) == list(trials[0].inputs)
    context.store.trial_results.write("cnn.0", result())
    assert Features(context, rows, trials).is_done()


def test_inputs_that_cannot_be_computed_fail_their_own_trials_alone(
    context: StudyContext, rows: StudyDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = NETWORK.learners[0]
    small = settings.model_copy(update={"input_size": 48})

    def compute(dataset: StudyDataset, extraction: Extraction, progress: object) -> Any:
        if extraction.config.input_size == 48:
            raise DataError("no such image")
        return np.zeros((len(dataset.targets), 1))

    monkeypatch.setattr(StudyDataset, "rows", compute)
    (trial,) = plan_trials([NETWORK], rows).trials
    other = Trial("small.0", small, rows.inputs(small), trial.train, trial.validation, trial.test)
    inputs = complete(Features(context, rows, [trial, other]))
    assert inputs.failures == {"small.0": "no such image"}
    assert list(inputs.arrays) == list(trial.inputs)


def test_trials_are_done_when_each_has_a_result(context: StudyContext, rows: StudyDataset) -> None:
    trials = plan_trials([SVM], rows).trials
    stage = TrialRuns(context, "trials", rows, trials, NOTHING)
    for trial in trials:
        assert not stage.is_done()
        context.store.trial_results.write(trial.name, result())
    assert complete(stage) == {}


def test_a_trial_without_inputs_keeps_its_reason(context: StudyContext, rows: StudyDataset) -> None:
    trials = plan_trials([NETWORK], rows).trials
    inputs = TrialInputs({}, {"cnn.0": "no such image"})
    assert complete(TrialRuns(context, "trials", rows, trials, inputs)) == {
        "cnn.0": "no such image"
    }


def test_only_models_whose_folds_all_have_a_result_are_cross_validated(
    context: StudyContext, rows: StudyDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = CheckedData(rows, np.arange(len(rows.targets)), [])
    other = ComparedModel("other", "", "network", "", ({},), NETWORK.learners)
    stage = FoldRuns(context, checked, [best(NETWORK), best(other), best(TUNED)])
    names = [f"{model}.fold.{number:02}" for model in ("cnn", "other") for number in range(3)]
    monkeypatch.setattr(scoring, "cross_validation", lambda name, *_: name)
    for name in names[:4]:
        context.store.trial_results.write(name, result())
    assert not stage.is_done()
    assert stage.result() == ["cnn"]


def test_a_fine_tuned_model_is_fitted_until_it_has_a_result(
    context: StudyContext, rows: StudyDataset
) -> None:
    assert not FineTuning(context, rows, [NETWORK, TUNED]).is_done()
    context.store.trial_results.write("tuned.0", result())
    assert complete(FineTuning(context, rows, [NETWORK, TUNED])) == {}


def test_a_fine_tuned_model_that_cannot_be_fitted_is_reported(
    context: StudyContext, rows: StudyDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise WeightsError("no weights")

    monkeypatch.setattr("pintag.train.study.stages.fine_tuning.fit_bundle", fail)
    assert complete(FineTuning(context, rows, [TUNED])) == {"tuned.0": "no weights"}
    assert "tuned.0" not in context.store.trial_results


@pytest.fixture
def tuned(context: StudyContext, bundle_dir: Path) -> StudyContext:
    """A study whose fine-tuned model has its bundle."""
    shutil.copytree(bundle_dir, context.store.model("tuned"))
    return context


def test_the_bundle_of_a_fine_tuned_winner_is_copied_whole_or_not_at_all(
    tuned: StudyContext, rows: StudyDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = WinnerBundle(tuned, rows, best(TUNED))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", _copy_the_manifest_alone)
        with pytest.raises(OSError, match="disk is full"):
            stage.run()
    assert not stage.is_done()
    written = complete(stage)
    assert (
        written.manifest.version
        == json.loads((tuned.store.model("tuned") / MANIFEST).read_text())["version"]
    )
    assert WinnerBundle(tuned, rows, best(TUNED)).is_done()


def _copy_the_manifest_alone(source: Path, target: Path, **_: object) -> None:
    shutil.copy(source / MANIFEST, target)
    raise OSError("the disk is full")


def test_only_networks_without_a_time_are_measured(
    context: StudyContext, rows: StudyDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def seconds(spec: object) -> float:
        measured.append(spec)
        return 0.25

    monkeypatch.setattr(latency, "seconds_per_image", seconds)
    monkeypatch.setattr("pintag.models.networks.count_parameters", lambda spec: 7)
    context.store.record("predictions", "tuned", 0.5)
    complete(PredictionTimes(context, rows, [best(SVM), best(NETWORK), best(TUNED)]))
    assert len(measured) == 1
    assert context.store.recorded("predictions") == {"tuned": 0.5, "cnn": 0.25}
    assert context.store.recorded("parameters") == {"cnn": 7}
    assert PredictionTimes(context, rows, [best(NETWORK)]).is_done()


class NoWinner:
    """A bundle whose engine is not needed."""

    def engine(self) -> None:
        return None


def test_an_image_that_cannot_be_explained_is_left_out_and_not_tried_again(
    context: StudyContext, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def explain(*arguments: Any) -> None:
        tried.append(arguments[1])

    monkeypatch.setattr(sample_explanations, "explain_example", explain)
    assert complete(Explanations(context, data, NoWinner())) == []  # type: ignore[arg-type]
    assert len(tried) == len(data.labels)
    assert complete(Explanations(context, data, NoWinner())) == []  # type: ignore[arg-type]
    assert len(tried) == len(data.labels)
