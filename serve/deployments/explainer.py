"""The explainer deployment: a separate application, so that explanations never delay a tag.

A thread computes one explanation at a time; other requests wait, and clients take turns. When a
request is cancelled, the thread stops before its next batch.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from cachetools import LRUCache
from ray import serve

from pintag.core import formatting
from pintag.core.errors import DataError
from pintag.explain import overlay
from pintag.explain.explanation import ExplainConfig, explain
from pintag.explain.request import ExplanationRequest
from pintag.explain.sampling import Stop
from pintag.explain.saved import SavedExplanation
from pintag.explain.schema import ExplanationAnswer
from pintag.serve.api import clients, explanations, request_rules
from pintag.serve.auth import middleware
from pintag.serve.config import AccessConfig, ApiConfig
from pintag.serve.deployment_config import EngineConfig, ExplainerConfig
from pintag.serve.errors import ParameterError
from pintag.serve.inference import decoders
from pintag.serve.inference.explanation_slots import ExplanationSlots, Slot
from pintag.serve.inference.loaded_model import LoadedModel
from pintag.serve.ingress.identity import identified
from pintag.serve.observability.metrics import ExplainerMetrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp


_Key = tuple[bytes, ExplanationRequest]
"""The digest of an image, and the parameters of its explanation."""


class _CancelledError(Exception):
    """The request for this explanation was cancelled."""


@serve.deployment
@serve.ingress()
class Explainer:
    """Explains the tags of one bundle, with the engine that serves it."""

    def __init__(
        self,
        uri: str,
        settings: dict[str, Any],
        engine: dict[str, Any],
        access: dict[str, Any],
        http: dict[str, Any],
    ) -> None:
        """Load the bundle and warm up.

        Args:
            uri: the bundle's folder or URI.
            settings: an `ExplainerConfig` as plain data.
            engine: an `EngineConfig` as plain data.
            access: an `AccessConfig` as plain data.
            http: an `ApiConfig` as plain data.
        """
        self._access = AccessConfig.model_validate(access)
        self._http = ApiConfig.model_validate(http)
        self.config = ExplainerConfig.model_validate(settings)
        self._loaded = LoadedModel(uri, self.config, EngineConfig.model_validate(engine))
        self.model = self._loaded.model
        self.metrics = ExplainerMetrics(self._loaded.info)
        self._runner = ThreadPoolExecutor(1, "pintag-explain")
        self._painter = ThreadPoolExecutor(1, "pintag-draw")
        self._cache: LRUCache[_Key, bytes] = LRUCache(self.config.cache_bytes, getsizeof=len)
        self._slots = ExplanationSlots(self.config.max_ongoing_requests)
        # A moving average of an explanation's seconds.
        self._average_s = 1.0
        self.metrics.watch_queue(lambda: len(self._slots))
        self._warm_up()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        app = explanations.build(self)
        keyed = middleware.require_api_key(app, self._access, self.metrics)
        return identified(request_rules.wrap(keyed, self._http))

    async def check_health(self) -> None:
        """See `LoadedModel.check`."""
        await asyncio.get_running_loop().run_in_executor(None, self._loaded.check)

    async def explain(
        self, data: bytes, digest: bytes, request: ExplanationRequest
    ) -> ExplanationAnswer:
        """Explain a label of an encoded image, whose SHA-256 is `digest`.

        At the deadline sampling ends, and the answer has the outcome `deadline`.

        Raises:
            ImageError: the image cannot be decoded, or is not accepted.
            ExplainError: the image has more superpixels than the mode supports.
            ParameterError: the label does not exist, or `num_samples` is above the limit.
            OverloadedError: `max_ongoing_requests` requests are already in progress; see
                `ExplanationSlots`.
        """
        self._check(request)
        key = (digest, request)
        if cached := self._cached(key):
            return cached
        with self._slots.admit(clients.current.get(), self._average_s) as slot:
            return await self._explain_and_cache(data, request, key, slot)

    async def draw(
        self, data: bytes, digest: bytes, request: ExplanationRequest
    ) -> tuple[ExplanationAnswer, bytes]:
        """Like `explain`, with the explanation drawn on the image as a PNG file."""
        self._check(request)
        key = (digest, request)
        # Admitted once: a computed explanation must not be lost to requests that came later.
        with self._slots.admit(clients.current.get(), self._average_s) as slot:
            answer = self._cached(key) or await self._explain_and_cache(data, request, key, slot)
            loop = asyncio.get_running_loop()
            return answer, await loop.run_in_executor(self._painter, self._draw, data, answer)

    def _cached(self, key: _Key) -> ExplanationAnswer | None:
        if (content := self._cache.get(key)) is None:
            return None
        self.metrics.count_outcome(key[1].mode, "cached")
        return ExplanationAnswer.model_validate_json(content)

    async def _explain_and_cache(
        self, data: bytes, request: ExplanationRequest, key: _Key, slot: Slot
    ) -> ExplanationAnswer:
        try:
            answer = await self._compute(data, request, slot)
        except asyncio.CancelledError:
            self.metrics.count_outcome(request.mode, "cancelled")
            raise
        self.metrics.count_outcome(request.mode, answer.outcome)
        content = answer.model_dump_json().encode()
        # An answer of the outcome `deadline` depends on the load, so it is not cached.
        if answer.outcome != "deadline" and len(content) <= self.config.cache_bytes:
            self._cache[key] = content
        return answer

    def _check(self, request: ExplanationRequest) -> None:
        labels = self._loaded.labels
        if request.label is not None:
            try:
                labels.index(request.label)
            except DataError as error:
                known = formatting.names(labels)
                message = f"label: there is no {request.label!r}; there are {known}"
                raise ParameterError(message) from error
        if (request.num_samples or 0) > self.config.max_samples:
            raise ParameterError(f"num_samples: at most {self.config.max_samples} are allowed")

    async def _compute(
        self, data: bytes, request: ExplanationRequest, slot: Slot
    ) -> ExplanationAnswer:
        deadline = time.perf_counter() + self.config.deadline_s
        cancelled = threading.Event()

        def stop() -> bool:
            if cancelled.is_set():
                raise _CancelledError
            return time.perf_counter() > deadline

        try:
            async with self._slots.turn(slot):
                # If this is cancelled while it waits for the thread, the thread never runs it.
                future = self._runner.submit(self._explain, data, request, stop)
                return await asyncio.wrap_future(future)
        finally:
            cancelled.set()

    def _explain(self, data: bytes, request: ExplanationRequest, stop: Stop) -> ExplanationAnswer:
        # The request may have been cancelled while it waited for the thread.
        stop()
        started = time.perf_counter()
        labels, predict = self._loaded.labels, self._loaded.engine.predict
        label = None if request.label is None else labels.index(request.label)
        config = ExplainConfig.from_request(request, self.config.batch_size)
        explanation = explain(self._loaded.decode(data), predict, label, config, stop)
        self.metrics.observe(explanation.samples, explanation.seconds)
        # An exponential moving average follows the load.
        self._average_s = (self._average_s + time.perf_counter() - started) / 2
        return explanation.to_answer(labels, self.model)

    def _draw(self, data: bytes, answer: ExplanationAnswer) -> bytes:
        with decoders.start_errors_as_overload():
            picture = overlay.picture(data, self._loaded.limits)
        return overlay.png(SavedExplanation.decode(answer).figure(picture))

    def _warm_up(self) -> None:
        """Import libraries and build the engine's kernels before the first request."""
        predict, size = self._loaded.engine.predict, self._loaded.engine.input_size
        pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
        request = ExplanationRequest(mode="stable", segmentation="slic", num_samples=2)
        explain(pixels, predict, config=ExplainConfig.from_request(request, self.config.batch_size))
        predict(self._loaded.blank(self.config.batch_size))
