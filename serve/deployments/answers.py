"""Builds the answers to the images of a request, in turns of the event loop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import orjson

from pintag.core.types import Confidences
from pintag.data.labels import Labels
from pintag.serve.api import schemas
from pintag.serve.deployments.canary import RoutedRow
from pintag.serve.inference import off_loop

# An answer of so many tags takes less than a millisecond.
_SHORT_TAGS = 500


class TagMetrics(Protocol):
    """The metrics of answers."""

    def count_tags(self, label: str, confidence: float, tags: int) -> None: ...


class AnswerBuilder:
    """Turns rows of confidences into answers; a client may ask for every label of 256 images."""

    def __init__(self, labels: Labels, metrics: TagMetrics) -> None:
        self._labels, self._metrics = labels, metrics

    async def build(
        self, rows: Iterable[RoutedRow], max_tags: int, min_confidence: float
    ) -> list[bytes | Exception]:
        """An `Answer` as JSON for each row, or the row's error.

        As JSON, because to free a hundred thousand tags would hold up the loop, too.
        """
        turns = off_loop.Turns()
        answers: list[bytes | Exception] = []
        for row, model in rows:
            if isinstance(row, Exception):
                answers.append(row)
            else:
                answers.append(await self._answer(row, model, max_tags, min_confidence))
            await turns.end_of_part()
        return answers

    async def _answer(
        self, row: Confidences, model: dict[str, str], max_tags: int, min_confidence: float
    ) -> bytes:
        if min(max_tags, len(self._labels)) <= _SHORT_TAGS:
            count, answer = self._encoded(row, model, max_tags, min_confidence)
        else:
            count, answer = await off_loop.run(self._encoded, row, model, max_tags, min_confidence)
        first = int(row.argmax())
        self._metrics.count_tags(self._labels[first], float(row[first]), count)
        return answer

    def _encoded(
        self, row: Confidences, model: dict[str, str], max_tags: int, min_confidence: float
    ) -> tuple[int, bytes]:
        """The number of tags, and the answer with them."""
        tags = self._labels.top(row, max_tags, min_confidence)
        return len(tags), orjson.dumps(schemas.answer(model, tags))
