"""Small studies to draw and to write of, with made-up figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pintag import significance
from pintag.results import (
    Bin,
    CrossValidation,
    Data,
    Entry,
    Explained,
    Family,
    Figure,
    Leak,
    Pair,
    Prediction,
    Results,
    Scores,
    Timings,
    Trial,
)

LABELS = ("cats", "dogs")


def share(hits: int, total: int) -> Figure:
    found = significance.share(hits, total)
    return Figure(value=found.value, low=found.low, high=found.high)


def scores(hits: int = 18, labels: Sequence[str] = LABELS, images: int = 20) -> Scores:
    """Of each label `hits` of `images` right, the others taken for the next label."""
    count = len(labels)
    right = np.eye(count, dtype=int)
    confusion = hits * right + (images - hits) * np.roll(right, 1, axis=1)
    return Scores(
        images=images * count,
        accuracy=share(hits * count, images * count),
        macro_f1=Figure(value=hits / images, low=0.5, high=1.0),
        ece=Figure(value=0.034, low=0.02, high=0.05),
        recall={label: share(hits, images) for label in labels},
        confusion=confusion.tolist(),
        reliability=[
            Bin(confidence=0.62, accuracy=0.5, images=10),
            Bin(confidence=0.97, accuracy=hits / images, images=images * count - 10),
        ],
    )


def grid(**values: Sequence[Any]) -> list[Trial]:
    """A trial for each two values; the accuracy rises from trial to trial."""
    (first, firsts), (second, seconds) = values.items()
    settings = [{first: one, second: two} for one in firsts for two in seconds]
    return [
        Trial(settings=each, training_accuracy=0.99, validation_accuracy=share(20 + number, 40))
        for number, each in enumerate(settings)
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


def entry(
    name: str,
    hits: int = 18,
    family: Family = "transfer",
    labels: Sequence[str] = LABELS,
    **changes: Any,
) -> Entry:
    trials = grid(batch_size=[16, 32], learning_rate=[0.01, 0.001])
    known = {
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
    return Entry.model_validate(known | changes)


def failed(name: str, reason: str = "out of memory") -> Entry:
    trials = [Trial(settings={"C": 1.0, "gamma": 0.1}, failure=reason)]
    return Entry(name=name, title=name, family="svm", trials=trials, failure=reason)


def pair(first: str, second: str, p: float = 0.5) -> Pair:
    return Pair(first=first, second=second, only_first=5, only_second=3, p=p, differs=p < 0.05)


def results(entries: Sequence[Entry], **changes: Any) -> Results:
    labels = changes.pop("labels", LABELS)
    known = {
        "title": "A study",
        "data": Data(
            name="pets",
            fingerprint="0123abcd",
            labels=list(labels),
            counts={"train": dict.fromkeys(labels, 600), "test": dict.fromkeys(labels, 20)},
            synthetic=False,
        ),
        "leaks": [],
        "entries": list(entries),
        "pairs": [],
        "cross_validation": [],
        "explained": [],
        "best": next((each.name for each in entries if each.validation), None),
        "config": {},
    }
    return Results.model_validate(known | changes)


def timings(seconds: dict[str, float] | None = None, **changes: Any) -> Timings:
    """Of each entry the seconds of one image, alone in its batch."""
    known = {
        "machine": "2 cores",
        "stages": {"read": 1.5, "trials": 200.0},
        "features": {},
        "training": dict.fromkeys(seconds or {}, 12.0),
        "predictions": [
            Prediction(entry=name, engine="tensorflow", batch=1, seconds=taken)
            for name, taken in (seconds or {}).items()
        ],
        "latency_budget": 0.05,
        "fast_best": None,
    }
    return Timings.model_validate(known | changes)


def folds(name: str, *hits: int) -> CrossValidation:
    return CrossValidation(
        entry=name,
        folds=[share(each, 20) for each in hits],
        mean=share(sum(hits), 20 * len(hits)),
        deviation=0.031,
        confusion=[[30, 2], [4, 24]],
    )


def leak(number: int = 1) -> Leak:
    return Leak(
        first=f"train/{number}.jpg",
        second=f"test/{number}.jpg",
        kind="similar",
        distance=4,
        moved=True,
    )


def explained(picture: str) -> Explained:
    return Explained(
        image="test/cats/1.jpg", label="cats", predicted="dogs", confidence=0.75, picture=picture
    )
