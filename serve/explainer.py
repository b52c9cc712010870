"""The explainer deployment: an application of its own, so that explanations never delay a tag.

One explanation is made at a time, in a thread; the others wait for their turn. Whoever waits for
one can be cancelled, and then the thread stops at its next batch.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cachetools import LRUCache
from ray import serve

from pintag import bundle, images, overlay
from pintag.engine import configure_threads
from pintag.explain import ExplainConfig, explain
from pintag.images import Limits
from pintag.sampling import Stop
from pintag.superpixels import ALGORITHMS
from pintag.surrogate import top
from serve import explanations, process, protocol
from serve.config import ExplainerConfig
from serve.explanations import Question
from serve.metrics import ExplainerMetrics
from serve.protocol import ExplanationAnswer, OverloadedError, ParameterError

if TYPE_CHECKING:
    from fastapi import FastAPI


class _CancelledError(Exception):
    """Nobody waits for this explanation any more."""


@serve.deployment
@serve.ingress()
class Explainer:
    """Explains the tags of one bundle, by the engine that serves it."""

    def __init__(self, path: str, settings: dict[str, Any]) -> None:
        self.config = ExplainerConfig.model_validate(settings)
        process.share(self.config.cores, self.config.niceness)
        configure_threads(self.config.engine_threads)
        loaded = bundle.load(Path(path))
        self._engine = loaded.engine()
        self._labels = loaded.labels
        self._limits = Limits(self.config.images.max_bytes, self.config.images.max_pixels)
        self.model = protocol.Model(name=loaded.manifest.name, version=loaded.manifest.version)
        self.metrics = ExplainerMetrics()
        self._runner = ThreadPoolExecutor(1, "pintag-explain")
        self._painter = ThreadPoolExecutor(1, "pintag-draw")
        self._cache: LRUCache[tuple[bytes, Question], bytes] = LRUCache(
            self.config.cache_bytes, getsizeof=len
        )
        # Explanations admitted and not yet answered, and what one took of late.
        self._ongoing = 0
        self._pace = 1.0
        self._warm_up()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return explanations.build(self)

    async def check_health(self) -> None:
        """Run the engine on one image: a replica that cannot predict is not healthy."""
        size = self._engine.input_size
        loop = asyncio.get_running_loop()
        blank = np.zeros((1, size, size, 3), np.uint8)
        confidences = await loop.run_in_executor(None, self._engine.predict, blank)
        if not np.isfinite(confidences).all():
            raise RuntimeError("the engine predicts confidences that are no numbers")

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
            self.metrics.count_outcome("cached")
            return ExplanationAnswer.model_validate_json(found)
        try:
            answer = await self._admitted(data, question)
        except asyncio.CancelledError:
            self.metrics.count_outcome("cancelled")
            raise
        self.metrics.count_outcome(answer.outcome)
        content = answer.model_dump_json().encode()
        # One cut short by this hour's load is not kept for the next; nor what is above the bound.
        if answer.outcome != "deadline" and len(content) <= self.config.cache_bytes:
            self._cache[key] = content
        return answer

    async def draw(self, data: bytes, question: Question, answer: ExplanationAnswer) -> bytes:
        """The overlay of an answer on its image, as a PNG."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._painter, self._draw, data, question, answer)

    def _check(self, question: Question) -> None:
        if question.label is not None and question.label not in self._labels.names:
            known = ", ".join(self._labels)
            raise ParameterError(f"label: there is no {question.label!r}; there are {known}")
        if (question.num_samples or 0) > self.config.max_samples:
            raise ParameterError(f"num_samples: at most {self.config.max_samples} are allowed")

    async def _admitted(self, data: bytes, question: Question) -> ExplanationAnswer:
        if self._ongoing >= self.config.max_ongoing_requests:
            raise OverloadedError(
                f"{self._ongoing} explanations are under way, as many as are admitted; try again",
                retry_after=math.ceil(self._pace * self._ongoing),
            )
        deadline = time.perf_counter() + self.config.deadline_seconds
        cancelled = threading.Event()

        def stop() -> bool:
            if cancelled.is_set():
                raise _CancelledError
            return time.perf_counter() > deadline

        self._ongoing += 1
        try:
            # Cancelled while it waits for its turn, it never has one.
            future = self._runner.submit(self._explain, data, question, stop)
            return await asyncio.wrap_future(future)
        finally:
            cancelled.set()
            self._ongoing -= 1

    def _explain(self, data: bytes, question: Question, stop: Stop) -> ExplanationAnswer:
        # Whoever asked may have left while this waited for its turn.
        stop()
        started = time.perf_counter()
        pixels = images.decode(data, self._engine.input_size, self._limits)
        label = None if question.label is None else self._labels.names.index(question.label)
        found = explain(pixels, self._engine.predict, label, self._config(question), stop)
        self.metrics.observe(found.samples, found.seconds)
        # Half of it is the last one's: a mean that follows the load.
        self._pace = (self._pace + time.perf_counter() - started) / 2
        return ExplanationAnswer(model=self.model, **found.to_json(self._labels))

    def _config(self, question: Question) -> ExplainConfig:
        return ExplainConfig(
            mode=question.mode,
            segmentation=ALGORITHMS[question.segmentation](),
            num_samples=question.num_samples,
            num_features=question.num_features,
            positive_only=question.positive_only,
            batch_size=self.config.batch_size,
            seed=question.seed,
        )

    def _draw(self, data: bytes, question: Question, answer: ExplanationAnswer) -> bytes:
        segments = overlay.read_segment_map(b64decode(answer.segmentation.map))
        weights = np.zeros(answer.segmentation.count)
        for item in answer.weights:
            weights[item.segment] = item.weight
        chosen = top(weights, question.num_features, question.positive_only)
        signs = overlay.mask(segments, weights, chosen)
        return overlay.png(overlay.draw(overlay.picture(data, self._limits), signs))

    def _warm_up(self) -> None:
        """Load what explanations use, and build the engine's kernels, before the first one."""
        size = self._engine.input_size
        pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
        config = self._config(Question(mode="stable", segmentation="slic", num_samples=2))
        explain(pixels, self._engine.predict, config=config)
        blank = np.zeros((self.config.batch_size, size, size, 3), np.uint8)
        self._engine.predict(blank)
