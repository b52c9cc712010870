"""Answers to many images, with many labels, do not hold up the event loop of a replica."""

from __future__ import annotations

import asyncio

import numpy as np
import orjson
import pytest

from pintag.core.errors import NotAnImageError
from pintag.core.types import Confidences
from pintag.data.labels import Labels
from pintag.serve.deployments.answers import AnswerBuilder
from pintag.serve.deployments.canary import RoutedRow
from pintag.serve.observability.metrics import ClassifierMetrics
from tests.serve.conftest import INFO, MODEL
from tests.serve.loop_lag import LIMIT_S, Measure, longest

__all__ = ["longest"]

pytestmark = pytest.mark.ray

IMAGES = 256


class CountedTags:
    """The arguments of each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float, int]] = []

    def count_tags(self, label: str, confidence: float, tags: int) -> None:
        self.calls.append((label, confidence, tags))


def many_labels(count: int) -> Labels:
    return Labels(tuple(f"label {number:05}" for number in range(count)))


def random_rows(labels: int, count: int) -> list[RoutedRow]:
    rows: Confidences = np.random.default_rng(0).dirichlet(np.ones(labels), count)
    return [RoutedRow(row.astype(np.float32), MODEL) for row in rows]


@pytest.mark.parametrize("max_tags", [2, 800])
def test_an_answer_has_the_most_confident_labels_in_order(max_tags: int) -> None:
    metrics = CountedTags()
    builder = AnswerBuilder(many_labels(600), metrics)
    error = NotAnImageError("the image is corrupt")
    [routed] = random_rows(600, 1)

    answers = asyncio.run(builder.build([RoutedRow(error, MODEL), routed], max_tags, 0.001))

    confidences = {f"label {i:05}": float(value) for i, value in enumerate(routed.row)}  # type: ignore[arg-type]
    best = sorted(confidences, key=confidences.__getitem__, reverse=True)[:max_tags]
    tags = [{"label": label, "confidence": confidences[label]} for label in best]
    kept = [tag for tag in tags if confidences[str(tag["label"])] >= 0.001]
    assert answers == [error, orjson.dumps({"model": MODEL, "tags": kept})]
    assert metrics.calls == [(best[0], confidences[best[0]], len(kept))]


# 21,841 is the number of labels of the whole of ImageNet.
@pytest.mark.parametrize(
    ("labels", "images", "max_tags"),
    [
        (8, IMAGES, 5),
        (500, IMAGES, 5),
        (500, IMAGES, 500),
        (1000, IMAGES, 1000),
        (21_841, 1, 10**6),
    ],
)
def test_answers_do_not_hold_up_the_loop(
    labels: int, images: int, max_tags: int, longest: Measure
) -> None:
    builder = AnswerBuilder(many_labels(labels), ClassifierMetrics(INFO))
    rows = random_rows(labels, images)
    assert longest(lambda: builder.build(rows, max_tags, 0)) < LIMIT_S


def test_the_loop_goes_on_while_answers_are_built() -> None:
    """A thread that kept Python's lock would hold up the loop without using its time."""
    builder, rows = AnswerBuilder(many_labels(1000), CountedTags()), random_rows(1000, 64)

    async def turns_of_another_task() -> int:
        turns = 0
        building = asyncio.ensure_future(builder.build(rows, 1000, 0))
        while not building.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(turns_of_another_task()) > len(rows)
