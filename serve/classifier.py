"""The classifier deployment: decode, batch, infer. It is the ingress of its own application.

Under throughput mode this code shares the event loop with Ray's own server: whatever takes time
runs in a thread, and the loop only passes things on.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import serve

from pintag.engine import Confidences
from pintag.images import Pixels
from pintag.labels import Tag
from serve import http, protocol
from serve.config import ClassifierConfig, EngineConfig
from serve.metrics import Metrics, timed
from serve.replica import Replica

if TYPE_CHECKING:
    from fastapi import FastAPI


@dataclass(slots=True)
class _Waiting:
    """An image on its way into a batch."""

    pixels: Pixels
    since: float


@serve.deployment
@serve.ingress()
class Classifier:
    """Tags images with one bundle."""

    def __init__(
        self, path: str, settings: dict[str, Any], engine: dict[str, Any], explained: bool = True
    ) -> None:
        """`explained` says whether there is an explainer beside it, to tell clients of."""
        self.config = ClassifierConfig.model_validate(settings)
        self._replica = Replica(Path(path), self.config, EngineConfig.model_validate(engine))
        self.info = self._replica.info.model_copy(update={"explained": explained})
        self.model = self._replica.model
        self.metrics = Metrics(self.info)
        self._decoders = ThreadPoolExecutor(self.config.decode_threads, "pintag-decode")
        self._runner = ThreadPoolExecutor(1, "pintag-engine")
        # Images admitted and not yet answered, and those of them in the engine.
        self._ongoing = 0
        self._inside = 0
        # The decorator below is evaluated before there is a configuration.
        self._infer.set_batch_wait_timeout_s(self.config.batch_wait_timeout_s)
        self._warm_up()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return http.build(self)

    async def check_health(self) -> None:
        """See `Replica.check`."""
        await asyncio.get_running_loop().run_in_executor(self._runner, self._replica.check)

    async def tag(self, data: bytes, max_tags: int, min_confidence: float) -> list[Tag]:
        """The tags of one encoded image.

        Raises:
            ImageError: it is no image that is accepted.
            OverloadedError: as many images as the replica admits are under way.
            TimeoutError: the deadline passed.
        """
        if self._ongoing >= self.config.max_ongoing_requests:
            raise protocol.OverloadedError(
                f"{self._ongoing} images are under way, as many as are admitted; try again"
            )
        self._ongoing += 1
        try:
            async with asyncio.timeout(self.config.deadline_seconds):
                confidences = await self._classify(data)
        except TimeoutError as error:
            raise TimeoutError(
                f"not done within {self.config.deadline_seconds:g} s, the deadline"
            ) from error
        finally:
            self._ongoing -= 1
        labels = self._replica.labels
        tags = labels.top(confidences, max_tags, min_confidence)
        self.metrics.count_tag(labels[int(confidences.argmax())])
        return tags

    async def _classify(self, data: bytes) -> Confidences:
        loop = asyncio.get_running_loop()
        with timed(self.metrics.decode):
            pixels = await loop.run_in_executor(self._decoders, self._replica.decode, data)
        # A batch is full when nobody else is on the way to it: one image alone never waits, and
        # under load batches fill. The size counts from a batch's first image on.
        expected = self._ongoing - self._inside
        self._infer.set_max_batch_size(min(max(expected, 1), self.config.max_batch_size))
        confidences: Confidences = await self._infer(_Waiting(pixels, time.perf_counter()))
        return confidences

    @serve.batch  # type: ignore[untyped-decorator]
    async def _infer(self, batch: list[_Waiting]) -> list[Confidences]:
        now = time.perf_counter()
        for waiting in batch:
            self.metrics.wait.observe(now - waiting.since)
        self.metrics.batch_size.observe(len(batch))
        pixels = np.stack([waiting.pixels for waiting in batch])
        self._inside = len(batch)
        try:
            with timed(self.metrics.inference):
                loop = asyncio.get_running_loop()
                predict = self._replica.engine.predict
                return list(await loop.run_in_executor(self._runner, predict, pixels))
        finally:
            self._inside = 0

    def _warm_up(self) -> None:
        """Build every kernel before the first request, which would wait for them."""
        for count in {1, self.config.max_batch_size}:
            self._replica.engine.predict(self._replica.blank(count))
