"""OpenVINO models for a bundle: int8 has to prove itself, or the bundle says why it did not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag import bundle, dataset, evaluation, optimize
from pintag.bundle import EngineChoice, EngineRecord, ModelBundle
from pintag.dataset import VALIDATION, DataSet
from pintag.engine import Confidences
from pintag.errors import BundleError, DataError
from pintag.optimize import OptimizeConfig

pytestmark = pytest.mark.keras
# A bundle is fitted by Ray Train.
RAY = pytest.mark.ray
# Of the sample's 48 images one is more than two percent already.
LENIENT = OptimizeConfig(max_drop=0.05, min_agreement=0.9)
FP32, INT8 = EngineChoice("openvino", "fp32"), EngineChoice("openvino", "int8")


@pytest.fixture(scope="module")
def data(sample_dir: Path) -> DataSet:
    return dataset.scan(sample_dir)


@pytest.fixture
def fitted(bundle_dir: Path, tmp_path: Path) -> ModelBundle:
    """A copy, to be optimised."""
    return bundle.load(Path(shutil.copytree(bundle_dir, tmp_path / "model")))


class Said:
    """What was being done, in order."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def __call__(self, stage: str) -> None:
        self.stages.append(stage)


def accuracy(made: ModelBundle, choice: EngineChoice, data: DataSet) -> float:
    predicted = evaluation.predict(made.engine(choice), data.splits[VALIDATION])
    return float((predicted.confidences.argmax(axis=1) == predicted.targets).mean())


@RAY
def test_a_bundle_gets_both_models_and_their_figures(fitted: ModelBundle, data: DataSet) -> None:
    said = Said()
    made = optimize.optimize(fitted, data, LENIENT, said)
    assert made == bundle.load(fitted.path)
    assert fitted.manifest.files.items() < made.manifest.files.items()
    assert made.manifest.metrics == fitted.manifest.metrics
    assert made.choose() == INT8
    assert made.manifest.version.startswith(fitted.manifest.version + "-")
    for choice in (FP32, INT8):
        record = made.manifest.openvino[choice.precision]
        assert record.images == len(data.splits[VALIDATION])
        assert record.accuracy == accuracy(made, choice, data)
        assert record.agreement >= 0.9
        assert record.refused is None
    assert said.stages[0] == "asking the network"
    assert "quantising again, watching the accuracy" not in said.stages


@RAY
def test_int8_that_costs_too_much_is_left_out_with_the_reason(
    fitted: ModelBundle, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The int8 models are judged as if each changed a quarter of the first labels."""
    exact = optimize._predict

    def spoilt(engine: Any, examples: Any) -> Confidences:
        found = exact(engine, examples)
        if engine.precision == "int8":
            found[: len(found) // 4] = np.roll(found[: len(found) // 4], 1, axis=1)
        return found

    monkeypatch.setattr(optimize, "_predict", spoilt)
    said = Said()
    made = optimize.optimize(fitted, data, LENIENT, said)
    assert "quantising again, watching the accuracy" in said.stages
    assert made.choose() == FP32
    assert not [name for name in made.manifest.files if "int8" in name]
    reason = made.manifest.openvino["int8"].refused
    assert reason is not None
    assert reason.startswith("post-training quantisation: ")
    assert "watching the accuracy: " in reason
    assert "the first label is the network's for 7" in reason
    with pytest.raises(BundleError, match="post-training quantisation: "):
        made.choose("auto", "int8")


@RAY
def test_int8_that_fails_at_first_may_do_when_its_accuracy_is_watched(
    fitted: ModelBundle, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[EngineRecord] = []
    exact = optimize._Judge.refusal

    def refusal(judge: Any, found: EngineRecord) -> str:
        judged.append(found)
        return "not at first" if len(judged) == 1 else exact(judge, found)

    monkeypatch.setattr(optimize._Judge, "refusal", refusal)
    made = optimize.optimize(fitted, data, LENIENT)
    assert len(judged) == 2
    assert made.choose() == INT8
    assert made.manifest.openvino["int8"] == judged[1]


JUDGED = [
    # Right answers of a network and of a model out of 200 images, agreeing on so many; may it?
    (190, 190, 200, True),
    (190, 189, 199, True),  # half a point is one image of 200
    (190, 188, 198, False),
    (190, 192, 196, True),  # better is no loss
    (190, 190, 195, False),
]


@pytest.mark.parametrize(("network", "model", "agreeing", "may"), JUDGED)
def test_int8_may_lose_so_much_and_no_more(
    network: int, model: int, agreeing: int, may: bool
) -> None:
    targets = np.zeros(200, int)
    # The network is right on the first images, and says 1 of the others.
    expected = np.eye(2, dtype=np.float32)[(np.arange(200) >= network).astype(int)]
    judge = optimize._Judge([], targets, expected, OptimizeConfig())
    found = EngineRecord(accuracy=model / 200, agreement=agreeing / 200, images=200)
    assert (judge.refusal(found) == "") == may


@RAY
def test_another_data_sets_labels_are_refused(fitted: ModelBundle, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    for split in ("train", "validation", "test"):
        for label in ("cats", "dogs"):
            (folder / split / label).mkdir(parents=True)
    source = next(iter(fitted.path.glob("*.png")))
    for place in folder.glob("*/*"):
        shutil.copy(source, place / "one.png")
    with pytest.raises(DataError, match="its labels are cats, dogs; the model's are animals"):
        optimize.optimize(fitted, dataset.scan(folder))


@RAY
def test_a_bundle_that_may_not_be_replaced_stays_whole(
    fitted: ModelBundle, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(bundle.shutil, "copy", full)
    with pytest.raises(BundleError, match=r"cannot be written: .*No space left"):
        optimize.optimize(fitted, data)
    assert bundle.load(fitted.path) == fitted


@RAY
@pytest.mark.data
def test_int8_serves_real_photographs(pins_bundle: Path, real_data: Path, tmp_path: Path) -> None:
    """MobileNet with real weights: hardly a right answer is lost."""
    copied = bundle.load(Path(shutil.copytree(pins_bundle, tmp_path / "pins")))
    made = optimize.optimize(copied, dataset.scan(real_data / "pins"))
    exact = made.manifest.openvino["fp32"]
    assert exact.agreement == 1
    assert exact.accuracy > 0.8
    quick = made.manifest.openvino["int8"]
    if made.choose() == INT8:
        assert quick.accuracy >= exact.accuracy - 0.005
        assert quick.agreement >= 0.98
    else:
        assert quick.refused
