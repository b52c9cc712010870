"""How good a model is: accuracy, per-label figures, calibration, confusion, and time per image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag import dataset
from pintag.calibration import expected_calibration_error
from pintag.dataset import Example, Progress
from pintag.engine import Confidences, Engine
from pintag.labels import Labels

# Below the smallest confidence that float32 can hold, for the logarithm of a zero.
_TINY = 1e-38


@dataclass(frozen=True, slots=True)
class LabelScore:
    """Precision, recall and F1 of one label, and how many images truly carry it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """The figures of one model on one split."""

    accuracy: float
    macro_f1: float
    ece: float
    """Expected calibration error, 0 to 1; see `pintag.calibration`."""
    per_label: dict[str, LabelScore]
    confusion: npt.NDArray[np.int64]
    """`int64[C,C]`: row the true label, column the predicted one."""
    images: int

    def to_json(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {**asdict(self), "confusion": self.confusion.tolist()}


@dataclass(frozen=True)
class Prediction:
    """What an engine said of every example, and how long that took."""

    confidences: Confidences
    targets: npt.NDArray[np.int64]
    seconds_per_image: dict[str, float]
    """Wall seconds: `engine` inside predict calls alone, `total` with reading and decoding."""

    @property
    def logits(self) -> Confidences:
        """`float32[N,C]`, up to a constant of each row, which a softmax does not see."""
        return np.log(np.maximum(self.confidences, _TINY))


def predict(
    engine: Engine,
    examples: Sequence[Example],
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Prediction:
    """Run the engine over examples, in order, decoding in threads beside it."""
    rows, targets = [], []
    inside = 0.0
    done = 0
    started = time.perf_counter()
    for pixels, batch_targets in dataset.batches(examples, engine.input_size, batch_size):
        before = time.perf_counter()
        rows.append(engine.predict(pixels))
        inside += time.perf_counter() - before
        targets.append(batch_targets)
        done += len(pixels)
        if progress:
            progress(done, len(examples))
    total = time.perf_counter() - started
    seconds = {"engine": inside / len(examples), "total": total / len(examples)}
    return Prediction(np.concatenate(rows), np.concatenate(targets), seconds)


def evaluate(
    confidences: Confidences, targets: npt.NDArray[np.int64], labels: Labels
) -> Evaluation:
    """Score `float32[N,C]` against `int64[N]`, N at least 1.

    A label that is never predicted has precision 0, one without images recall 0, as in
    scikit-learn with `zero_division=0`; the macro F1 is the mean over the labels that have images.
    """
    count = len(labels)
    predicted = confidences.argmax(axis=1)
    confusion = np.bincount(targets * count + predicted, minlength=count * count)
    confusion = confusion.reshape(count, count).astype(np.int64)
    hits, support = confusion.diagonal(), confusion.sum(axis=1)
    precision = hits / np.maximum(confusion.sum(axis=0), 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(confusion.sum(axis=0) + support, 1)
    per_label = {
        name: LabelScore(float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
        for i, name in enumerate(labels)
    }
    return Evaluation(
        accuracy=float(hits.sum() / len(targets)),
        macro_f1=float(f1[support > 0].mean()),
        ece=expected_calibration_error(confidences, targets),
        per_label=per_label,
        confusion=confusion,
        images=len(targets),
    )
