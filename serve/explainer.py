"""The explainer deployment: an application of its own, so that explanations never delay a tag.

One explanation is made at a time, in a thread; the others wait for their turn. Whoever waits for
one can be cancelled, and then the thread stops at its next batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from cachetools import LRUCache
from ray import serve

from pintag import overlay
from pintag.explain import ExplainConfig, explain
from pintag.question import Question
from pintag.sampling import Stop
from pintag.told import Told
from serve import access, explanations
from serve.config import AccessConfig, EngineConfig, ExplainerConfig
from serve.metrics import ExplainerMetrics
from serve.protocol import ExplanationAnswer, OverloadedError, ParameterError
from serve.replica import Replica

if TYPE_CHECKING:
    from starlette.types import ASGIApp


class _CancelledError(Exception):
    """Nobody waits for this explanation any more."""


@serve.deployment
@serve.ingress()
class Explainer:
    """Explains the tags of one bundle, by the engine that serves it."""

    def __init__(
        self, place: str, settings: dict[str, Any], engine: dict[str, Any], door: dict[str, Any]
    ) -> None:
        """From an `ExplainerConfig`, an `EngineConfig` and an `AccessConfig`, as plain data."""
        self._access = AccessConfig.model_validate(door)
        self.config = ExplainerConfig.model_validate(settings)
        self._replica = Replica(place, self.config, EngineConfig.model_validate(engine))
        self.model = self._replica.model
        self.metrics = ExplainerMetrics(self._replica.info)
        self._runner = ThreadPoolExecutor(1, "pintag-explain")
        self._painter = ThreadPoolExecutor(1, "pintag-draw")
        self._cache: LRUCache[tuple[bytes, Question], bytes] = LRUCache(
            self.config.cache_bytes, getsizeof=len
        )
        # Requests admitted and not yet answered, and what an explanation took of late.
        self._ongoing = 0
        self._pace = 1.0
        self.metrics.watch_queue(lambda: self._ongoing)
        self._warm_up()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return access.guard(explanations.build(self), self._access, self.metrics)

    async def check_health(self) -> None:
        """See `Replica.check`."""
        await asyncio.get_running_loop().run_in_executor(None, self._replica.check)

    async def explain(self, data: bytes, question: Question) -> ExplanationAnswer:
        """Why a label, as far as can be told before the deadline.

        Raises:
            ImageError: it is no image that is accepted.
            ExplainError: it has more superpixels than the mode can tell apart.
            ParameterError: there is no such label, or more samples are asked for than are allowed.
            OverloadedError: as many explanations as the replica admits are under way.
        """
        self._check(question)
        key = (hashlib.sha256(data).digest(), question)
        if found := self._cache.get(key):
            self.metrics.count_outcome(question.mode, "cached")
            return ExplanationAnswer.model_validate_json(found)
        try:
            with self._admitted():
                answer = await self._made(data, question)
        except asyncio.CancelledError:
            self.metrics.count_outcome(question.mode, "cancelled")
            raise
        self.metrics.count_outcome(question.mode, answer.outcome)
        content = answer.model_dump_json().encode()
        # One cut short by this hour's load is not kept for the next; nor what is above the bound.
        if answer.outcome != "deadline" and len(content) <= self.config.cache_bytes:
            self._cache[key] = content
        return answer

    async def draw(self, data: bytes, question: Question) -> tuple[ExplanationAnswer, bytes]:
        """See `explain`; with the overlay on the image, as a PNG."""
        answer = await self.explain(data, question)
        with self._admitted():
            loop = asyncio.get_running_loop()
            return answer, await loop.run_in_executor(self._painter, self._draw, data, answer)

    def _check(self, question: Question) -> None:
        labels = self._replica.labels
        if question.label is not None and question.label not in labels.names:
            known = ", ".join(labels)
            raise ParameterError(f"label: there is no {question.label!r}; there are {known}")
        if (question.num_samples or 0) > self.config.max_samples:
            raise ParameterError(f"num_samples: at most {self.config.max_samples} are allowed")

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._ongoing >= self.config.max_ongoing_requests:
            raise OverloadedError(
                f"{self._ongoing} explanations are under way, as many as are admitted; try again",
                retry_after=math.ceil(self._pace * self._ongoing),
            )
        self._ongoing += 1
        try:
            yield
        finally:
            self._ongoing -= 1

    async def _made(self, data: bytes, question: Question) -> ExplanationAnswer:
        deadline = time.perf_counter() + self.config.deadline_seconds
        cancelled = threading.Event()

        def stop() -> bool:
            if cancelled.is_set():
                raise _CancelledError
            return time.perf_counter() > deadline

        try:
            # Cancelled while it waits for its turn, it never has one.
            future = self._runner.submit(self._explain, data, question, stop)
            return await asyncio.wrap_future(future)
        finally:
            cancelled.set()

    def _explain(self, data: bytes, question: Question, stop: Stop) -> ExplanationAnswer:
        # Whoever asked may have left while this waited for its turn.
        stop()
        started = time.perf_counter()
        labels, predict = self._replica.labels, self._replica.engine.predict
        label = None if question.label is None else labels.index(question.label)
        config = ExplainConfig.of(question, self.config.batch_size)
        found = explain(self._replica.decode(data), predict, label, config, stop)
        self.metrics.observe(found.samples, found.seconds)
        # Half of it is the last one's: a mean that follows the load.
        self._pace = (self._pace + time.perf_counter() - started) / 2
        return ExplanationAnswer(model=self.model, **found.to_json(labels))

    def _draw(self, data: bytes, answer: ExplanationAnswer) -> bytes:
        picture = overlay.picture(data, self._replica.limits)
        return overlay.png(Told.read(answer.model_dump()).overlay(picture))

    def _warm_up(self) -> None:
        """Load what explanations use, and build the engine's kernels, before the first one."""
        predict = self._replica.engine.predict
        size = self._replica.engine.input_size
        pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
        question = Question(mode="stable", segmentation="slic", num_samples=2)
        explain(pixels, predict, config=ExplainConfig.of(question, self.config.batch_size))
        predict(self._replica.blank(self.config.batch_size))
