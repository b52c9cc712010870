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

from pintag import bundle, images
from pintag.engine import Confidences, configure_threads
from pintag.images import Limits, Pixels
from pintag.labels import Tag
from serve import http, process, protocol
from serve.config import ClassifierConfig
from serve.metrics import Metrics, timed

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

    def __init__(self, path: str, settings: dict[str, Any]) -> None:
        self.config = ClassifierConfig.model_validate(settings)
        process.share(self.config.cores, self.config.niceness)
        configure_threads(self.config.engine_threads)
        loaded = bundle.load(Path(path))
        self._engine = loaded.engine()
        self._labels = loaded.labels
        self._limits = Limits(self.config.images.max_bytes, self.config.images.max_pixels)
        self.info = protocol.model_info(loaded, self._engine.name)
        self.model = protocol.Model(name=self.info.name, version=self.info.version)
        self.metrics = Metrics()
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
        """Run the engine on one image: a replica that cannot predict is not healthy."""
        confidences = await self._run(self._blank(1))
        if not np.isfinite(confidences).all():
            raise RuntimeError("the engine predicts confidences that are no numbers")

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
        tags = self._labels.top(confidences, max_tags, min_confidence)
        self.metrics.count_tag(self._labels[int(confidences.argmax())])
        return tags

    async def _classify(self, data: bytes) -> Confidences:
        loop = asyncio.get_running_loop()
        with timed(self.metrics.decode):
            pixels = await loop.run_in_executor(
                self._decoders, images.decode, data, self._engine.input_size, self._limits
            )
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
                return list(await self._run(pixels))
        finally:
            self._inside = 0

    async def _run(self, pixels: Pixels) -> Confidences:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._runner, self._engine.predict, pixels)

    def _warm_up(self) -> None:
        """Build every kernel before the first request, which would wait for them."""
        for count in {1, self.config.max_batch_size}:
            self._engine.predict(self._blank(count))

    def _blank(self, count: int) -> Pixels:
        size = self._engine.input_size
        return np.zeros((count, size, size, 3), np.uint8)
