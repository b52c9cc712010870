"""Add OpenVINO models to a bundle: int8 is accepted, or the bundle has the reason."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag.core.errors import BundleError, DataError
from pintag.core.types import Confidences
from pintag.data import dataset
from pintag.data.dataset import VALIDATION, DataSet
from pintag.evaluation import metrics
from pintag.models import bundle, bundle_writer, networks, optimize
from pintag.models.bundle import EngineChoice, ModelBundle
from pintag.models.engines import openvino
from pintag.models.manifest import EngineRecord
from pintag.models.networks import NetworkSpec
from pintag.models.optimize import OptimizeConfig

pytestmark = pytest.mark.keras
# A bundle is fitted by Ray Train.
RAY = pytest.mark.ray
# One of the sample's 48 images is already more than 2 %.
LENIENT = OptimizeConfig(max_drop=0.05, min_agreement=0.9)
FP32, INT8 = EngineChoice("openvino", "fp32"), EngineChoice("openvino", "int8")


@pytest.fixture(scope="module")
def data(sample_dir: Path) -> DataSet:
    return dataset.scan(sample_dir)


@pytest.fixture
def fitted(bundle_dir: Path, tmp_path: Path) -> ModelBundle:
    """A copy of the bundle, which a test may change."""
    return bundle.load(Path(shutil.copytree(bundle_dir, tmp_path / "model")))


class Output:
    """Records the stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def __call__(self, stage: str) -> None:
        self.stages.append(stage)


def accuracy(optimized: ModelBundle, choice: EngineChoice, data: DataSet) -> float:
    predicted = metrics.predict(optimized.engine(choice), data.splits[VALIDATION])
    return float((predicted.confidences.argmax(axis=1) == predicted.targets).mean())


@RAY
def test_a_bundle_gets_both_models_and_their_scores(fitted: ModelBundle, data: DataSet) -> None:
    output = Output()
    optimized = optimize.optimize(fitted, data, LENIENT, output)
    assert optimized == bundle.load(fitted.path)
    assert fitted.manifest.files.items() < optimized.manifest.files.items()
    assert optimized.manifest.metrics == fitted.manifest.metrics
    assert optimized.choose() == INT8
    assert optimized.manifest.version.startswith(fitted.manifest.version + "-")
    for choice in (FP32, INT8):
        record = optimized.manifest.openvino[choice.precision]
        assert record.images == len(data.splits[VALIDATION])
        assert record.accuracy == accuracy(optimized, choice, data)
        assert record.agreement >= 0.9
        assert record.refused is None
    assert output.stages[0] == "predicting with the original network"
    assert "quantising to int8 with accuracy control" not in output.stages


@RAY
def test_inaccurate_int8_is_left_out_with_the_reason(
    fitted: ModelBundle, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The predictions of int8 are changed for a quarter of the images."""
    exact = optimize._predict

    def spoilt(engine: Any, examples: Any) -> Confidences:
        result = exact(engine, examples)
        if engine.precision == "int8":
            result[: len(result) // 4] = np.roll(result[: len(result) // 4], 1, axis=1)
        return result

    monkeypatch.setattr(optimize, "_predict", spoilt)
    output = Output()
    optimized = optimize.optimize(fitted, data, LENIENT, output)
    assert "quantising to int8 with accuracy control" in output.stages
    assert optimized.choose() == FP32
    assert not [name for name in optimized.manifest.files if "int8" in name]
    reason = optimized.manifest.openvino["int8"].refused
    assert reason is not None
    assert reason.startswith("post-training quantisation: ")
    assert "with accuracy control: " in reason
    assert "the first label equals the network's for only 7" in reason
    with pytest.raises(BundleError, match="post-training quantisation: "):
        optimized.choose("auto", "int8")


def broken(*arguments: Any, **options: Any) -> Any:
    raise RuntimeError("Check 'shape' failed at node.cpp:42:\nmany more lines")


@pytest.fixture(scope="module")
def unfitted(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """A bundle of a basic network with random weights."""
    spec = NetworkSpec(backbone="basic_cnn", input_size=32, widths=(8,), num_labels=8)
    network = networks.build(spec)
    labels = dataset.scan(sample_dir).labels
    return bundle_writer.save(
        tmp_path_factory.mktemp("unfitted") / "model", network, spec, labels,
        temperature=1.0, name="model", metrics={}, training={}, data={}, extra={},
    )  # fmt: skip


def test_a_network_that_cannot_be_converted_is_left_out(
    unfitted: ModelBundle, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "convert", broken)
    model = bundle.load(Path(shutil.copytree(unfitted.path, tmp_path / "model")))
    optimized = optimize.optimize(model, data, LENIENT)
    assert optimized.choose() == EngineChoice("tensorflow", "fp32")
    records = optimized.manifest.openvino
    assert records["fp32"].refused == (
        "the conversion failed: RuntimeError: Check 'shape' failed at node.cpp:42:"
    )
    assert records["int8"].refused == "there is no model in fp32 to quantise"
    assert records["fp32"].accuracy is None


def test_an_int8_model_that_cannot_be_compiled_is_left_out(
    unfitted: ModelBundle, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = optimize.OpenVINOEngine
    monkeypatch.setattr(
        optimize,
        "OpenVINOEngine",
        lambda model, precision: (broken if precision == "int8" else engine)(model, precision),
    )
    model = bundle.load(Path(shutil.copytree(unfitted.path, tmp_path / "model")))
    optimized = optimize.optimize(model, data, LENIENT)
    assert optimized.choose() == FP32
    reason = optimized.manifest.openvino["int8"].refused
    assert reason is not None
    assert reason.startswith("post-training quantisation: the quantisation failed: RuntimeError: C")
    assert "with accuracy control: the quantisation failed: RuntimeError" in reason
    assert not [name for name in optimized.manifest.files if "int8" in name]


@RAY
def test_int8_with_accuracy_control_can_be_accepted(
    fitted: ModelBundle, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[EngineRecord] = []
    exact = optimize._AccuracyGuard.refusal

    def refusal(judge: Any, result: EngineRecord) -> str:
        judged.append(result)
        return "not at first" if len(judged) == 1 else exact(judge, result)

    monkeypatch.setattr(optimize._AccuracyGuard, "refusal", refusal)
    optimized = optimize.optimize(fitted, data, LENIENT)
    assert len(judged) == 2
    assert optimized.choose() == INT8
    assert optimized.manifest.openvino["int8"] == judged[1]


JUDGED = [
    # Of 200 images: right answers of the network and of int8, equal answers; is int8 accepted?
    (190, 190, 200, True),
    (190, 189, 199, True),  # half a point is one image of 200
    (190, 188, 198, False),
    (190, 192, 196, True),  # better is not a loss
    (190, 190, 195, False),
]


@pytest.mark.parametrize(("network", "model", "agreeing", "may"), JUDGED)
def test_the_limits_of_refusal(network: int, model: int, agreeing: int, may: bool) -> None:
    targets = np.zeros(200, int)
    # The network is right on the first images, and predicts 1 for the others.
    expected = np.eye(2, dtype=np.float32)[(np.arange(200) >= network).astype(int)]
    judge = optimize._AccuracyGuard([], targets, expected, OptimizeConfig())
    result = EngineRecord(accuracy=model / 200, agreement=agreeing / 200, images=200)
    assert (judge.refusal(result) == "") == may


@RAY
def test_other_labels_are_refused(fitted: ModelBundle, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    for split in ("train", "validation", "test"):
        for label in ("cats", "dogs"):
            (folder / split / label).mkdir(parents=True)
    source = next(iter(fitted.path.glob("*.png")))
    for path in folder.glob("*/*"):
        shutil.copy(source, path / "one.png")
    with pytest.raises(DataError, match="its labels are cats, dogs; the model's are animals"):
        optimize.optimize(fitted, dataset.scan(folder))


@RAY
def test_a_failed_replacement_keeps_the_bundle(
    fitted: ModelBundle, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(bundle_writer.shutil, "copy", full)
    with pytest.raises(BundleError, match=r"cannot be written: .*No space left"):
        optimize.optimize(fitted, data)
    assert bundle.load(fitted.path) == fitted


@RAY
@pytest.mark.data
def test_int8_serves_real_photographs(pins_bundle: Path, real_data: Path, tmp_path: Path) -> None:
    """MobileNet with real weights: int8 loses hardly any accuracy."""
    copied = bundle.load(Path(shutil.copytree(pins_bundle, tmp_path / "pins")))
    optimized = optimize.optimize(copied, dataset.scan(real_data / "pins"))
    exact = optimized.manifest.openvino["fp32"]
    assert exact.agreement == 1
    assert exact.accuracy > 0.8
    quick = optimized.manifest.openvino["int8"]
    if optimized.choose() == INT8:
        assert quick.accuracy >= exact.accuracy - 0.005
        assert quick.agreement >= 0.98
    else:
        assert quick.refused
