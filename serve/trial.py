"""A candidate on trial: some images it answers, and over some it is compared with what serves.

Both are shares of the pictures, not of the requests: equal bytes have the same fate, and a share
that grows keeps what it had.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol

from pintag.engine import Confidences
from pintag.errors import ImageError
from pintag.labels import Labels
from serve import candidate
from serve.config import CandidateConfig
from serve.contact import Contact
from serve.metrics import CandidateMetrics
from serve.protocol import CandidateInfo, Model, ModelInfo, OverloadedError

# Seconds for a comparison, for which nobody waits.
_PATIENCE = 10.0

Use = Literal["canary", "shadow"]
Row = Confidences | Exception


class Asked(Protocol):
    """Who asks the candidate."""

    model: ModelInfo | None

    async def predict(self, images: Sequence[bytes], seconds: float) -> list[Row]: ...


class Metrics(Protocol):
    """What is counted and timed here."""

    def timed_answer(self) -> AbstractContextManager[None]: ...

    def count_image(self, use: str, outcome: str) -> None: ...

    def observe_difference(self, difference: float) -> None: ...


class Found(NamedTuple):
    """What is answered to an image."""

    row: Row
    model: dict[str, str]
    """Whose it is: a `Model` as plain data."""


class Trial:
    """Of one candidate, in one replica of the classifier."""

    def __init__(
        self, config: CandidateConfig, model: Model, asked: Asked, metrics: Metrics
    ) -> None:
        """`model` is the one that serves."""
        self._config, self._asked, self._metrics = config, asked, metrics
        self._model = model.model_dump()
        # Images that the candidate is being asked about.
        self._ongoing = 0
        self._tasks = set[asyncio.Task[None]]()

    @property
    def info(self) -> CandidateInfo | None:
        """What is on trial, while it is well."""
        if (model := self._asked.model) is None:
            return None
        shares = {"shadow": self._config.shadow, "canary": self._config.canary}
        return CandidateInfo(name=model.name, version=model.version, **shares)

    async def rows(
        self, images: Sequence[bytes], served: Callable[[Sequence[bytes]], Awaitable[list[Row]]]
    ) -> list[Found]:
        """What is answered to each encoded image; `served` has what the bundle that serves says."""
        uses = [self._use(data) for data in images]
        found = await self._canaries(images, uses)
        rest = [place for place in range(len(images)) if place not in found]
        rows = await served([images[place] for place in rest])
        found |= {place: Found(row, self._model) for place, row in zip(rest, rows, strict=True)}
        self._compare_later(
            [
                (images[place], row)
                for place, row in zip(rest, rows, strict=True)
                if uses[place] == "shadow" and not isinstance(row, Exception)
            ]
        )
        return [found[place] for place in range(len(images))]

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let it go on, and nobody wait for it."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _use(self, data: bytes) -> Use | None:
        place = zlib.crc32(data) / 2**32
        if place < self._config.canary:
            return "canary"
        return "shadow" if place >= 1 - self._config.shadow else None

    async def _canaries(
        self, images: Sequence[bytes], uses: Sequence[Use | None]
    ) -> dict[int, Found]:
        """What the candidate answers, by the images' places."""
        places = [place for place, use in enumerate(uses) if use == "canary"]
        # As it is asked: when it answers, it may have been lost.
        info = self._asked.model
        canaries = [images[place] for place in places]
        rows = await self._ask("canary", canaries, self._config.deadline_seconds)
        found = {}
        for place, row in zip(places, rows, strict=True):
            if info is not None and row is not None:
                found[place] = Found(row, {"name": info.name, "version": info.version})
                self._metrics.count_image("canary", "answered")
        return found

    def _compare_later(self, answered: Sequence[tuple[bytes, Confidences]]) -> None:
        """In the event loop's next turn: by then the answer is on its way."""
        if answered:
            self.run(self._compare(answered))

    async def _compare(self, answered: Sequence[tuple[bytes, Confidences]]) -> None:
        rows = await self._ask("shadow", [data for data, _ in answered], _PATIENCE)
        for (_, served), row in zip(answered, rows, strict=True):
            if row is None:
                continue
            first = int(served.argmax())
            same = int(row.argmax()) == first
            self._metrics.count_image("shadow", "agreed" if same else "differed")
            self._metrics.observe_difference(abs(float(row[first]) - float(served[first])))

    async def _ask(
        self, use: Use, images: Sequence[bytes], seconds: float
    ) -> list[Confidences | None]:
        """What the candidate says; where it says nothing, that is counted."""
        if not images:
            return []
        rows = await self._rows(images, seconds)
        for row in rows:
            # What is no image says nothing of a candidate.
            if isinstance(row, Exception) and not isinstance(row, ImageError):
                outcome = "dropped" if isinstance(row, OverloadedError) else "failed"
                self._metrics.count_image(use, outcome)
        return [None if isinstance(row, Exception) else row for row in rows]

    async def _rows(self, images: Sequence[bytes], seconds: float) -> list[Row]:
        if self._asked.model is None or self._ongoing >= self._config.max_ongoing_requests:
            return [OverloadedError("the candidate is ill, or busy")] * len(images)
        self._ongoing += len(images)
        try:
            with self._metrics.timed_answer():
                return await self._asked.predict(images, seconds)
        # Whatever it is, the request goes on without the candidate.
        except Exception as error:
            return [error] * len(images)
        finally:
            self._ongoing -= len(images)


def begin(config: CandidateConfig, model: Model, labels: Labels) -> Trial:
    """The trial of the candidate's deployment; call in the event loop of a replica."""
    contact = Contact(candidate.handle(), labels)
    metrics = CandidateMetrics(lambda: contact.model is not None)
    trial = Trial(config, model, contact, metrics)
    trial.run(contact.watch())
    return trial
