"""Routing to a candidate: it answers some images, and is compared with the served bundle on others.

Both are shares of the images, not of the requests. Routing is deterministic: identical images are
always routed alike, and an image that is in a share stays in it when the share grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol

from pintag.core.errors import ImageError
from pintag.core.types import Confidences
from pintag.data.labels import Labels
from pintag.serve.deployment_config import CandidateConfig
from pintag.serve.deployments import candidate
from pintag.serve.deployments.candidate_client import CandidateClient
from pintag.serve.errors import OverloadedError
from pintag.serve.inference import off_loop
from pintag.serve.model_info import CandidateInfo, ModelInfo
from pintag.serve.observability.metrics import CandidateMetrics

# The timeout of a comparison in seconds. No client waits for it.
_SHADOW_TIMEOUT_S = 10.0

Route = Literal["served", "canary", "shadow"]
"""`canary`: the candidate answers. `shadow`: the served bundle answers, and both are compared."""

Prediction = Confidences | Exception


class CandidatePredictor(Protocol):
    """Calls the candidate."""

    model: ModelInfo | None

    async def predict(self, images: Sequence[bytes], timeout_s: float) -> list[Prediction]: ...


class RouterMetrics(Protocol):
    """The metrics of a router."""

    def timed_answer(self) -> AbstractContextManager[None]: ...

    def count_image(self, use: str, outcome: str) -> None: ...

    def observe_difference(self, difference: float) -> None: ...


class RoutedRow(NamedTuple):
    """An image's confidences or error, and the model that predicted it."""

    row: Prediction
    model: dict[str, str]
    """A `Model` as plain data."""


class CanaryRouter:
    """Routes images between the served bundle and a candidate, in one replica of the classifier."""

    def __init__(
        self, config: CandidateConfig, client: CandidatePredictor, metrics: RouterMetrics
    ) -> None:
        self._config, self._client, self._metrics = config, client, metrics
        # The number of images that wait for the candidate.
        self._in_flight = 0
        self._tasks = set[asyncio.Task[None]]()

    @property
    def info(self) -> CandidateInfo | None:
        """The candidate and its shares, while it is healthy."""
        if (model := self._client.model) is None:
            return None
        shares = {"shadow": self._config.shadow, "canary": self._config.canary}
        return CandidateInfo(name=model.name, version=model.version, **shares)

    def route(self, digest: bytes) -> Route:
        """The route of an image, by the first four bytes of its digest."""
        position = int.from_bytes(digest[:4]) / 2**32
        if position < self._config.canary:
            return "canary"
        return "shadow" if position >= 1 - self._config.shadow else "served"

    async def predict(self, images: Mapping[int, bytes]) -> dict[int, RoutedRow]:
        """The candidate's confidences of encoded images, by the same keys.

        An image that the candidate does not answer is missing: the served bundle has to answer it.
        """
        # Read before the call: when it returns, the candidate may have become unhealthy.
        info = self._client.model
        rows = await self._ask("canary", [*images.values()], self._config.deadline_s)
        answered = {}
        turns = off_loop.Turns()
        for key, row in zip(images, rows, strict=True):
            if info is not None and row is not None:
                answered[key] = RoutedRow(row, {"name": info.name, "version": info.version})
                self._metrics.count_image("canary", "answered")
                await turns.end_of_part()
        return answered

    def compare(self, answered: Sequence[tuple[bytes, Confidences]]) -> None:
        """Compare the candidate with the confidences that were answered for each encoded image.

        It runs as a task in the next turn of the event loop, after the response has been sent.
        """
        if answered:
            self.run(self._compare(answered))

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background, and keep a reference until it ends."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(self, answered: Sequence[tuple[bytes, Confidences]]) -> None:
        rows = await self._ask("shadow", [data for data, _ in answered], _SHADOW_TIMEOUT_S)
        turns = off_loop.Turns()
        for (_, served), row in zip(answered, rows, strict=True):
            if row is None:
                continue
            first = int(served.argmax())
            same = int(row.argmax()) == first
            self._metrics.count_image("shadow", "agreed" if same else "differed")
            self._metrics.observe_difference(abs(float(row[first]) - float(served[first])))
            await turns.end_of_part()

    async def _ask(
        self, route: Route, images: Sequence[bytes], timeout_s: float
    ) -> list[Confidences | None]:
        """The candidate's confidences; None for an image without any, which is counted."""
        if not images:
            return []
        rows = await self._rows(images, timeout_s)
        turns = off_loop.Turns()
        for row in rows:
            # An invalid image is the upload's fault, not the candidate's.
            if isinstance(row, Exception) and not isinstance(row, ImageError):
                outcome = "dropped" if isinstance(row, OverloadedError) else "failed"
                self._metrics.count_image(route, outcome)
                await turns.end_of_part()
        return [None if isinstance(row, Exception) else row for row in rows]

    async def _rows(self, images: Sequence[bytes], timeout_s: float) -> list[Prediction]:
        if self._client.model is None or self._in_flight >= self._config.max_ongoing_requests:
            return [OverloadedError("the candidate is unhealthy or busy")] * len(images)
        self._in_flight += len(images)
        try:
            with self._metrics.timed_answer():
                return await self._client.predict(images, timeout_s)
        # Any error: the request continues without the candidate.
        except Exception as error:
            return [error] * len(images)
        finally:
            self._in_flight -= len(images)


def start(config: CandidateConfig, labels: Labels) -> CanaryRouter:
    """A router to the candidate's deployment; call it in the event loop of a replica.

    `labels` are those of the served bundle.
    """
    client = CandidateClient(candidate.handle(), labels)
    metrics = CandidateMetrics(lambda: client.model is not None)
    router = CanaryRouter(config, client, metrics)
    router.run(client.watch())
    return router
