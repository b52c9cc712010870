"""From a fitted bundle to one that serves fast on processors: OpenVINO models, fp32 and int8.

int8 is NNCF's post-training quantisation, calibrated on pictures of the data set, and it has to
prove itself on the validation split: it may cost so much accuracy, and its first label must be that
of the network it came from so often. Where it fails, quantisation that watches the accuracy is
tried; where that fails, the bundle says why and has fp32 alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import Field

from pintag import bundle, dataset, evaluation, openvino_engine
from pintag.bundle import EngineRecord, ModelBundle
from pintag.config import Strict
from pintag.dataset import TRAIN, VALIDATION, DataSet, Example
from pintag.engine import Confidences, Engine, TensorFlowEngine
from pintag.errors import DataError
from pintag.openvino_engine import OpenVINOEngine, Precision

_BATCH = 32

Stage = Callable[[str], None]
"""Told what is done next."""


class OptimizeConfig(Strict):
    """What int8 must prove, and what it is calibrated on."""

    max_drop: float = Field(default=0.005, ge=0, le=1)
    """Of accuracy on the validation split, as a share of its images."""
    min_agreement: float = Field(default=0.98, ge=0, le=1)
    """Share of the validation images whose first label is that of the fitted network."""
    calibration_images: int = Field(default=300, ge=1)
    """Of the training split, as many of each label."""


@dataclass(frozen=True)
class _Judge:
    """The validation split, and what the fitted network says of it."""

    examples: Sequence[Example]
    targets: Any
    expected: Confidences
    config: OptimizeConfig

    def record(self, engine: Engine) -> EngineRecord:
        """How an engine fares."""
        said = _predict(engine, self.examples).argmax(axis=1)
        return EngineRecord(
            accuracy=float((said == self.targets).mean()),
            agreement=float((said == self.expected.argmax(axis=1)).mean()),
            images=len(self.targets),
        )

    def refusal(self, found: EngineRecord) -> str:
        """Why an engine does not do; empty where it does."""
        accuracy = float((self.expected.argmax(axis=1) == self.targets).mean())
        # Whole images, as a share of a few hundred is no exact number.
        allowed = int(self.config.max_drop * len(self.targets) + 1e-9)
        lost = round((accuracy - found.accuracy) * len(self.targets))
        reasons = []
        if lost > allowed:
            reasons.append(
                f"accuracy falls from {accuracy:.2%} to {found.accuracy:.2%},"
                f" by more than {self.config.max_drop:.2%}"
            )
        if found.agreement < self.config.min_agreement:
            reasons.append(
                f"the first label is the network's for {found.agreement:.2%} of the images,"
                f" and not for {self.config.min_agreement:.2%}"
            )
        return "; ".join(reasons)


def optimize(
    made: ModelBundle,
    data: DataSet,
    config: OptimizeConfig | None = None,
    stage: Stage = lambda _: None,
) -> ModelBundle:
    """Add OpenVINO models to a bundle, which is replaced as a whole.

    Args:
        stage: told what is done next.

    Raises:
        DataError: the data set's labels are not the model's, or it has nothing to validate on.
    """
    config = config or OptimizeConfig()
    _check(made, data)
    network = made.network()
    examples = data.splits[VALIDATION]
    stage("asking the network")
    judge = _Judge(
        examples,
        np.array([example.target for example in examples]),
        _predict(TensorFlowEngine(network, made.manifest.temperature), examples),
        config,
    )
    stage("converting")
    plain = openvino_engine.convert(network, made.manifest.temperature)
    with TemporaryDirectory(prefix="pintag-optimize-") as name:
        folder = Path(name)
        records: dict[Precision, EngineRecord] = {
            "fp32": judge.record(_saved(plain, "fp32", folder))
        }
        quantized, record = _quantized(plain, judge, data, stage)
        if quantized is not None:
            _saved(quantized, "int8", folder)
        records["int8"] = record
        stage("writing the bundle")
        content = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return bundle.extend(made, content, records)


def _quantized(
    plain: Any, judge: _Judge, data: DataSet, stage: Stage
) -> tuple[Any | None, EngineRecord]:
    """An int8 model that does, or none, and how the last one fared."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    size = int(plain.input().partial_shape[1].get_length())
    calibration = nncf.Dataset(_pictures(data, judge.config.calibration_images, size))
    count = judge.config.calibration_images
    stage("quantising")
    quick = nncf.quantize(
        plain, calibration, preset=nncf.QuantizationPreset.MIXED, subset_size=count
    )
    record = judge.record(OpenVINOEngine(quick, "int8"))
    refusal = judge.refusal(record)
    if not refusal:
        return quick, record
    stage("quantising again, watching the accuracy")
    careful = nncf.quantize_with_accuracy_control(
        plain,
        calibration,
        nncf.Dataset(list(dataset.batches(judge.examples, size, _BATCH)), lambda batch: batch[0]),
        _accuracy,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=count,
        max_drop=judge.config.max_drop,
    )
    record = judge.record(OpenVINOEngine(careful, "int8"))
    again = judge.refusal(record)
    if not again:
        return careful, record
    told = f"post-training quantisation: {refusal}; watching the accuracy: {again}"
    return None, record.model_copy(update={"refused": told})


def _accuracy(compiled: Any, batches: Iterable[tuple[Any, Any]]) -> tuple[float, None]:
    """What quantisation watches: the share of right answers of a compiled model."""
    right = [compiled(pixels)[0].argmax(axis=1) == targets for pixels, targets in batches]
    return float(np.concatenate(right).mean()), None


def _saved(model: Any, precision: Precision, folder: Path) -> Engine:
    path = folder / bundle.engine_file(precision)
    openvino_engine.save(model, path)
    return OpenVINOEngine(path, precision)


def _check(made: ModelBundle, data: DataSet) -> None:
    if tuple(data.labels) != tuple(made.labels):
        raise DataError(
            f"{data.root}: its labels are {', '.join(data.labels)}; the model's are"
            f" {', '.join(made.labels)}"
        )
    for split in (TRAIN, VALIDATION):
        if not data.splits[split]:
            raise DataError(f"{data.root}: no image in the {split} split")


def _predict(engine: Engine, examples: Sequence[Example]) -> Confidences:
    return evaluation.predict(engine, examples, _BATCH).confidences


def _pictures(data: DataSet, count: int, size: int) -> list[Any]:
    """`uint8[1,S,S,3]` each: the first by their digests, label by label in turn."""
    by_label: dict[int, list[Example]] = {}
    for example in sorted(data.splits[TRAIN], key=lambda example: example.digest):
        by_label.setdefault(example.target, []).append(example)
    turns = [list(each) for each in by_label.values()]
    chosen: list[Example] = []
    while len(chosen) < count and any(turns):
        chosen += [examples.pop(0) for examples in turns if examples]
    batches = dataset.batches(chosen[:count], size, _BATCH)
    return [pixels[i : i + 1] for pixels, _ in batches for i in range(len(pixels))]
