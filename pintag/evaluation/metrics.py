"""Accuracy, per-label scores, calibration error, confusion matrix and time per image of a model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag.core.types import Confidences, Engine, Progress
from pintag.data import dataset
from pintag.data.dataset import Example
from pintag.data.labels import Labels
from pintag.evaluation.calibration import expected_calibration_error

# Smaller than any confidence of an engine; it keeps the logarithm of a zero finite.
_TINY = 1e-38


@dataclass(frozen=True, slots=True)
class LabelScore:
    """Precision, recall and F1 of one label, and the number of its images."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model on one split."""

    accuracy: float
    macro_f1: float
    ece: float
    """Expected calibration error, 0 to 1; see `pintag.evaluation.calibration`."""
    per_label: dict[str, LabelScore]
    confusion: npt.NDArray[np.int64]
    """`int64[C,C]`: rows are true labels, columns are predicted labels."""
    images: int

    def to_json(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {**asdict(self), "confusion": self.confusion.tolist()}


@dataclass(frozen=True)
class Predictions:
    """The confidences of an engine for every example, and the time that the predictions took."""

    confidences: Confidences
    targets: npt.NDArray[np.int64]
    seconds_per_image: dict[str, float]
    """Wall seconds: `engine` in predict calls only, `total` with reading and decoding too."""

    @property
    def logits(self) -> Confidences:
        """`float32[N,C]`, up to a constant for each row, which does not change a softmax."""
        return np.log(np.maximum(self.confidences, _TINY))


def predict(
    engine: Engine,
    examples: Sequence[Example],
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Predictions:
    """Run the engine on examples, in order; threads decode the next images meanwhile.

    Raises:
        ImageError: an image cannot be read or decoded.
    """
    rows, targets = [], []
    engine_seconds = 0.0
    done = 0
    started = time.perf_counter()
    for pixels, batch_targets in dataset.batches(examples, engine.input_size, batch_size):
        before = time.perf_counter()
        rows.append(engine.predict(pixels))
        engine_seconds += time.perf_counter() - before
        targets.append(batch_targets)
        done += len(pixels)
        if progress:
            progress(done, len(examples))
    total = time.perf_counter() - started
    seconds = {"engine": engine_seconds / len(examples), "total": total / len(examples)}
    return Predictions(np.concatenate(rows), np.concatenate(targets), seconds)


def evaluate(
    confidences: Confidences, targets: npt.NDArray[np.int64], labels: Labels
) -> Evaluation:
    """Score `float32[N,C]` confidences against `int64[N]` targets, N at least 1.

    A label that is never predicted has precision 0, and one without images has recall 0. The macro
    F1 is the mean over the labels that have images.
    """
    # Imported here, because the import takes more than a second and other commands do not need it.
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    predicted = confidences.argmax(axis=1)
    every_label = np.arange(len(labels))
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=every_label, zero_division=0
    )
    return Evaluation(
        accuracy=float((predicted == targets).mean()),
        macro_f1=float(f1[support > 0].mean()),
        ece=expected_calibration_error(confidences, targets),
        per_label={
            name: LabelScore(
                float(precision[index]), float(recall[index]), float(f1[index]), int(support[index])
            )
            for index, name in enumerate(labels)
        },
        confusion=confusion_matrix(targets, predicted, labels=every_label),
        images=len(targets),
    )
