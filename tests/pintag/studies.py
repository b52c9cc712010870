"""Small studies with invented figures, for the tests of reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pintag.evaluation import significance
from pintag.report.results import (
    CrossValidation,
    DataSummary,
    ExplainedImage,
    Family,
    IntervalFigure,
    ModelPair,
    ModelResult,
    PredictionTime,
    ReliabilityBin,
    ReportedLeak,
    ReportedTrial,
    Results,
    Scores,
    Timings,
)

LABELS = ("cats", "dogs")


def share(hits: int, total: int) -> IntervalFigure:
    estimate = significance.share(hits, total)
    return IntervalFigure(value=estimate.value, low=estimate.low, high=estimate.high)


def scores(hits: int = 18, labels: Sequence[str] = LABELS, images: int = 20) -> Scores:
    """Figures of a model with `hits` right answers for each label of `images` images.

    All other answers are the next label.
    """
    count = len(labels)
    right = np.eye(count, dtype=int)
    confusion = hits * right + (images - hits) * np.roll(right, 1, axis=1)
    return Scores(
        images=images * count,
        accuracy=share(hits * count, images * count),
        macro_f1=IntervalFigure(value=hits / images, low=0.5, high=1.0),
        ece=IntervalFigure(value=0.034, low=0.02, high=0.05),
        recall={label: share(hits, images) for label in labels},
        confusion=confusion.tolist(),
        reliability=[
            ReliabilityBin(confidence=0.62, accuracy=0.5, images=10),
            ReliabilityBin(confidence=0.97, accuracy=hits / images, images=images * count - 10),
        ],
    )


def grid(**values: Sequence[Any]) -> list[ReportedTrial]:
    """A trial for each pair of values; the accuracy rises from trial to trial."""
    (first, firsts), (second, seconds) = values.items()
    settings = [{first: one, second: two} for one in firsts for two in seconds]
    return [
        ReportedTrial(
            settings=values, training_accuracy=0.99, validation_accuracy=share(20 + number, 40)
        )
        for number, values in enumerate(settings)
    ]


def history(epochs: int = 3) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "loss": 2 / epoch,
            "accuracy": 1 - 0.8 / epoch,
            "validation_loss": 2.2 / epoch,
            "validation_accuracy": 0.9 - 0.8 / epoch,
            "phase": "head" if epoch < 3 else "fine_tune",
        }
        for epoch in range(1, epochs + 1)
    ]


def model(
    name: str,
    hits: int = 18,
    family: Family = "transfer",
    labels: Sequence[str] = LABELS,
    **changes: Any,
) -> ModelResult:
    trials = grid(batch_size=[16, 32], learning_rate=[0.01, 0.001])
    fields = {
        "name": name,
        "title": f"The {name}",
        "family": family,
        "trials": trials,
        "chosen": len(trials) - 1,
        "history": [] if family == "svm" else history(),
        "validation": scores(hits, labels),
        "test": scores(hits, labels),
        "parameters": 1_234_567,
        "bytes": 4_938_268,
    }
    return ModelResult.model_validate(fields | changes)


def failed(name: str, reason: str = "out of memory") -> ModelResult:
    trials = [ReportedTrial(settings={"C": 1.0, "gamma": 0.1}, failure=reason)]
    return ModelResult(name=name, title=name, family="svm", trials=trials, failure=reason)


def pair(first: str, second: str, p: float = 0.5) -> ModelPair:
    return ModelPair(first=first, second=second, only_first=5, only_second=3, p=p, differs=p < 0.05)


def results(models: Sequence[ModelResult], **changes: Any) -> Results:
    labels = changes.pop("labels", LABELS)
    fields = {
        "title": "A study",
        "data": DataSummary(
            name="pets",
            fingerprint="0123abcd",
            labels=list(labels),
            counts={"train": dict.fromkeys(labels, 600), "test": dict.fromkeys(labels, 20)},
            synthetic=False,
        ),
        "leaks": [],
        "entries": list(models),
        "pairs": [],
        "cross_validation": [],
        "explained": [],
        "best": next((model.name for model in models if model.validation), None),
        "config": {},
    }
    return Results.model_validate(fields | changes)


def timings(seconds: dict[str, float] | None = None, **changes: Any) -> Timings:
    """Timings with the seconds for one image in a batch of one, by model."""
    fields = {
        "machine": "2 cores",
        "stages": {"read": 1.5, "trials": 200.0},
        "features": {},
        "training": dict.fromkeys(seconds or {}, 12.0),
        "predictions": [
            PredictionTime(entry=name, engine="tensorflow", batch=1, seconds=value)
            for name, value in (seconds or {}).items()
        ],
        "latency_budget": 0.05,
        "fast_best": None,
    }
    return Timings.model_validate(fields | changes)


def folds(name: str, *hits: int) -> CrossValidation:
    return CrossValidation(
        entry=name,
        folds=[share(count, 20) for count in hits],
        mean=share(sum(hits), 20 * len(hits)),
        deviation=0.031,
        confusion=[[30, 2], [4, 24]],
    )


def leak(number: int = 1) -> ReportedLeak:
    return ReportedLeak(
        first=f"train/{number}.jpg",
        second=f"test/{number}.jpg",
        kind="similar",
        distance=4,
        moved=True,
    )


def explained(picture: str) -> ExplainedImage:
    return ExplainedImage(
        image="test/cats/1.jpg", label="cats", predicted="dogs", confidence=0.75, picture=picture
    )
