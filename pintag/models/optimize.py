"""Add OpenVINO models in fp32 and int8 to a bundle, for fast inference on CPUs.

int8 is NNCF's post-training quantisation, calibrated on training images. The int8 model is accepted
if it loses little accuracy on the validation split and predicts the same first label as the network
for nearly all images. If it is not accepted, NNCF's accuracy-aware quantisation is tried. If that
model is not accepted either, the bundle has fp32 only and records the reason. A network that
OpenVINO or NNCF cannot convert is left out in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import Field

from pintag.core import errors, formatting
from pintag.core.config import Strict
from pintag.core.errors import DataError, PintagError
from pintag.core.types import Confidences, Engine
from pintag.data import dataset
from pintag.data.dataset import TRAIN, VALIDATION, DataSet, Example
from pintag.evaluation import metrics
from pintag.models import bundle_writer
from pintag.models.bundle import ModelBundle, openvino_file
from pintag.models.engines import openvino
from pintag.models.engines.openvino import OpenVINOEngine, Precision
from pintag.models.engines.tensorflow import TensorFlowEngine
from pintag.models.manifest import EngineRecord

if TYPE_CHECKING:
    import keras

Result = TypeVar("Result")

_BATCH = 32

OnStage = Callable[[str], None]
"""Receives the name of each stage when it begins."""


class OptimizeConfig(Strict):
    """The conditions for accepting int8, and the size of the calibration set."""

    max_drop: float = Field(default=0.005, ge=0, le=1)
    """The largest loss of accuracy on the validation split, as a fraction: 0.005 is 0.5 %."""
    min_agreement: float = Field(default=0.98, ge=0, le=1)
    """The smallest share of validation images with an unchanged first label, as a fraction."""
    calibration_images: int = Field(default=300, ge=1)
    """Training images for calibration, balanced over the labels."""


@dataclass(frozen=True)
class _AccuracyGuard:
    """Compares an engine with the original network on the validation split."""

    examples: Sequence[Example]
    targets: Any
    expected: Confidences
    config: OptimizeConfig

    def record(self, engine: Engine) -> EngineRecord:
        """The scores of an engine."""
        first = _predict(engine, self.examples).argmax(axis=1)
        return EngineRecord(
            accuracy=float((first == self.targets).mean()),
            agreement=float((first == self.expected.argmax(axis=1)).mean()),
            images=len(self.targets),
        )

    def refusal(self, record: EngineRecord) -> str:
        """The reason why an engine is not accepted; empty if it is accepted."""
        if record.accuracy is None or record.agreement is None:
            return "it has no scores"
        accuracy = float((self.expected.argmax(axis=1) == self.targets).mean())
        # Compare counts of images: shares have rounding errors.
        allowed = int(self.config.max_drop * len(self.targets) + 1e-9)
        lost = round((accuracy - record.accuracy) * len(self.targets))
        reasons = []
        if lost > allowed:
            reasons.append(
                f"accuracy falls from {accuracy:.2%} to {record.accuracy:.2%},"
                f" by more than {self.config.max_drop:.2%}"
            )
        if record.agreement < self.config.min_agreement:
            reasons.append(
                f"the first label equals the network's for only {record.agreement:.2%} of the"
                f" images, less than {self.config.min_agreement:.2%}"
            )
        return "; ".join(reasons)


def optimize(
    bundle: ModelBundle,
    data: DataSet,
    config: OptimizeConfig | None = None,
    on_stage: OnStage = lambda _: None,
) -> ModelBundle:
    """Add OpenVINO models to a bundle; the bundle's folder is replaced atomically.

    Returns:
        The new bundle, with another version.

    Raises:
        DataError: the labels are not those of the model, or a split has no images.
        BundleError: the bundle cannot be written.
    """
    config = config or OptimizeConfig()
    _check(bundle, data)
    network = bundle.network()
    examples = data.splits[VALIDATION]
    on_stage("predicting with the original network")
    original = _predict(TensorFlowEngine(network, bundle.manifest.temperature), examples)
    targets = np.array([example.target for example in examples])
    guard = _AccuracyGuard(examples, targets, original, config)
    with TemporaryDirectory(prefix="pintag-optimize-") as name:
        folder = Path(name)
        records = _add_models(network, bundle.manifest.temperature, guard, data, folder, on_stage)
        on_stage("writing the bundle")
        content = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return bundle_writer.replace_openvino(bundle, content, records)


def _add_models(
    network: keras.Model,
    temperature: float,
    guard: _AccuracyGuard,
    data: DataSet,
    folder: Path,
    on_stage: OnStage,
) -> dict[Precision, EngineRecord]:
    """Write the accepted models to a folder, and return the record of each precision."""

    def convert() -> tuple[Any, EngineRecord]:
        model = openvino.convert(network, temperature)
        return model, guard.record(_save(model, "fp32", folder))

    on_stage("converting to OpenVINO")
    converted, reason = _attempt("the conversion", convert)
    if converted is None:
        _remove(folder, "fp32")
        refused = EngineRecord(refused="there is no model in fp32 to quantise")
        return {"fp32": EngineRecord(refused=reason), "int8": refused}
    plain, record = converted
    quantized, quantized_record = _quantize(plain, guard, data, on_stage)
    if quantized is not None:
        _, reason = _attempt("reading the saved model", lambda: _save(quantized, "int8", folder))
        if reason:
            _remove(folder, "int8")
            quantized_record = quantized_record.model_copy(update={"refused": reason})
    return {"fp32": record, "int8": quantized_record}


def _attempt(step: str, function: Callable[[], Result]) -> tuple[Result | None, str]:
    """The result of a step, or None and the reason why it failed."""
    try:
        return function(), ""
    except PintagError:
        raise
    # OpenVINO and NNCF raise many kinds of exceptions for networks that they do not support.
    except Exception as error:
        return None, f"{step} failed: {errors.summary(error)}"


def _quantize(
    plain: Any, guard: _AccuracyGuard, data: DataSet, on_stage: OnStage
) -> tuple[Any | None, EngineRecord]:
    """The accepted int8 model or None, and the scores of the last one that was tried."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    size = int(plain.input().partial_shape[1].get_length())
    count = guard.config.calibration_images
    calibration = nncf.Dataset(_calibration_images(data, count, size))
    options = {"preset": nncf.QuantizationPreset.MIXED, "subset_size": count}

    def plainly() -> Any:
        return nncf.quantize(plain, calibration, **options)

    def with_control() -> Any:
        batches = list(dataset.batches(guard.examples, size, _BATCH))
        return nncf.quantize_with_accuracy_control(
            plain,
            calibration,
            nncf.Dataset(batches, lambda batch: batch[0]),
            _accuracy,
            max_drop=guard.config.max_drop,
            **options,
        )

    on_stage("quantising to int8")
    model, record, refusal = _try_int8(plainly, guard)
    if not refusal:
        return model, record
    on_stage("quantising to int8 with accuracy control")
    model, second_record, second_refusal = _try_int8(with_control, guard)
    if not second_refusal:
        return model, second_record
    last = second_record if second_record.images else record
    reason = f"post-training quantisation: {refusal}; with accuracy control: {second_refusal}"
    return None, last.model_copy(update={"refused": reason})


def _try_int8(quantize: Callable[[], Any], guard: _AccuracyGuard) -> tuple[Any, EngineRecord, str]:
    """A quantised model, its scores, and why it is not accepted; the reason is empty if it is."""

    def scored() -> tuple[Any, EngineRecord]:
        model = quantize()
        return model, guard.record(OpenVINOEngine(model, "int8"))

    result, failure = _attempt("the quantisation", scored)
    if result is None:
        return None, EngineRecord(), failure
    model, scores = result
    return model, scores, guard.refusal(scores)


def _accuracy(compiled: Any, batches: Iterable[tuple[Any, Any]]) -> tuple[float, None]:
    """The accuracy of a compiled model, in the form that NNCF expects."""
    correct = [compiled(pixels)[0].argmax(axis=1) == targets for pixels, targets in batches]
    return float(np.concatenate(correct).mean()), None


def _save(model: Any, precision: Precision, folder: Path) -> Engine:
    path = folder / openvino_file(precision)
    openvino.save(model, path)
    return OpenVINOEngine(path, precision)


def _remove(folder: Path, precision: Precision) -> None:
    for file in folder.glob(f"{openvino_file(precision).removesuffix('.xml')}.*"):
        file.unlink()


def _check(bundle: ModelBundle, data: DataSet) -> None:
    if tuple(data.labels) != tuple(bundle.labels):
        raise DataError(
            f"{data.root}: its labels are {formatting.names(data.labels)}; the model's are"
            f" {formatting.names(bundle.labels)}"
        )
    for split in (TRAIN, VALIDATION):
        if not data.splits[split]:
            raise DataError(f"{data.root}: no image in the {split} split")


def _predict(engine: Engine, examples: Sequence[Example]) -> Confidences:
    return metrics.predict(engine, examples, _BATCH).confidences


def _calibration_images(data: DataSet, count: int, size: int) -> list[Any]:
    """Calibration images as `uint8[1,S,S,3]`, the same number of each label.

    They are chosen by their digests, which gives a random sample that is equal in every run.
    """
    by_label: dict[int, list[Example]] = {}
    for example in sorted(data.splits[TRAIN], key=lambda example: example.digest):
        by_label.setdefault(example.target, []).append(example)
    in_turn = zip_longest(*by_label.values())
    chosen = [example for turn in in_turn for example in turn if example is not None]
    batches = dataset.batches(chosen[:count], size, _BATCH)
    return [pixels[i : i + 1] for pixels, _ in batches for i in range(len(pixels))]
