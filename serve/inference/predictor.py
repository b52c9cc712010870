"""Predicts encoded images in a replica: admission, then inline or in batches, with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import math
from collections.abc import Callable, Sequence

from pintag.core.types import Confidences, Engine, Pixels
from pintag.images import decoder_pool
from pintag.images.decoding import EncodedImage
from pintag.serve.deployment_config import ClassifierConfig
from pintag.serve.inference import inline, off_loop
from pintag.serve.inference.admission import Admission, Load
from pintag.serve.inference.batching import DynamicBatcher
from pintag.serve.inference.core_sharing import BusyLock
from pintag.serve.inference.decode_queue import DecodeQueue, RequestTurns
from pintag.serve.inference.inline import InlineStrategy
from pintag.serve.inference.loaded_model import LoadedModel
from pintag.serve.inference.pipeline import Pipeline
from pintag.serve.observability.metrics import ClassifierMetrics

# The state of an image after its start: a result, an error, or a future of one of them.
_Started = asyncio.Future[Confidences] | Confidences | Exception
OnLate = Callable[[int, Confidences], None]


class Predictor:
    """Admission, inline strategy, batches and deadline around one `Pipeline`."""

    def __init__(
        self,
        model: LoadedModel,
        config: ClassifierConfig,
        metrics: ClassifierMetrics,
        busy: BusyLock,
    ) -> None:
        """Build the engine for batches, and warm it up, which takes seconds."""
        self._deadline_s = config.deadline_s
        self._pipeline = Pipeline(model.engine.input_size, model.limits, metrics)
        # While batches are in progress here, other replicas are busy as well: a batch uses only the
        # cores that are reserved for it.
        threads = max(1, int(config.num_cpus / config.num_batch_threads))
        engine = model.engine_for(config.max_batch_size, threads)
        _warm_up(engine, model, config.max_batch_size)
        self._inline = InlineStrategy(
            engine, model.engine, busy, engine_s=_engine_seconds(model, config)
        )
        self._batcher: DynamicBatcher[EncodedImage | Pixels, Confidences] = DynamicBatcher(
            functools.partial(self._pipeline.run_batch, engine),
            threads=config.num_batch_threads,
            max_batch_size=config.max_batch_size,
            on_wait=metrics.wait.observe,
        )
        decoder_pool.shared().start()
        self._decode_queue = _decode_queue(config)
        self._admission = Admission(_limit(config), busy)
        metrics.watch_queue(lambda: self._admission.images)
        # These objects live as long as the process: the collector need not visit them again.
        gc.collect()
        gc.freeze()

    async def predict(
        self, images: Sequence[bytes], on_late: OnLate | None = None, client: str = ""
    ) -> list[Confidences | Exception]:
        """The confidences `float32[C]` of each encoded image in order, or its error.

        The error is an `ImageError` for an image that is not accepted, and a `TimeoutError` after
        the deadline. If this call is cancelled, images that wait in the queue are skipped.

        Args:
            images: encoded images.
            on_late: called later with the index and the confidences of an image whose batch was in
                progress at the deadline, or when this call was cancelled.
            client: who sent the images: clients share the decoders equally.

        Raises:
            ImageTooLargeError: the images together are more than a request may have.
            OverloadedError: too much is already in flight; see `Admission` and `DecodeQueue`.
        """
        opened = await off_loop.map_images(self._open, images)
        load = Load(len(images), sum(map(len, images)))
        with (
            self._admitted_to_decoders(opened, client) as turns,
            self._admission.admit(load, self._batcher.seconds_per_item) as at_once,
        ):
            engine = await self._inline_engine(opened)
            return await self._run(opened, at_once, turns, engine, on_late)

    async def _inline_engine(self, opened: Sequence[EncodedImage | Exception]) -> Engine | None:
        """See `InlineStrategy.engine`; None for several images."""
        if len(opened) != 1:
            return None
        [image] = opened
        decode_s = 0.0 if isinstance(image, Exception) else image.cost_s
        return await self._inline.engine(self._admission, decode_s)

    def autoscaling_stats(self) -> dict[str, float]:
        """See `Admission.autoscaling_stats`."""
        return self._admission.autoscaling_stats()

    def _admitted_to_decoders(
        self, opened: Sequence[EncodedImage | Exception], client: str
    ) -> contextlib.AbstractContextManager[RequestTurns | None]:
        """The turns of a request; None if no image of it is slow to decode."""
        slow = [image for image in opened if isinstance(image, EncodedImage) and image.is_slow]
        if not slow:
            return contextlib.nullcontext()
        return self._decode_queue.admit(client, sum(image.cost_s for image in slow))

    def _open(self, data: bytes) -> EncodedImage | Exception:
        try:
            return self._pipeline.open(data)
        # Any error belongs to this image; the other images of the request keep their results.
        except Exception as error:
            return error

    async def _run(
        self,
        opened: Sequence[EncodedImage | Exception],
        at_once: int,
        turns: RequestTurns | None,
        engine: Engine | None,
        on_late: OnLate | None,
    ) -> list[Confidences | Exception]:
        """Process the images of a request in turn, `at_once` at a time, until the deadline."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deadline_s
        outcomes: list[Confidences | Exception] = []
        for start in range(0, len(opened), at_once):
            left = until - loop.time()
            if left <= 0:
                break
            started = [
                self._start(image, turns, engine, on_late and functools.partial(on_late, i))
                for i, image in enumerate(opened[start : start + at_once], start)
            ]
            outcomes += await self._collect(started, left)
        return outcomes + [self._late()] * (len(opened) - len(outcomes))

    def _start(
        self,
        image: EncodedImage | Exception,
        turns: RequestTurns | None,
        inline_engine: Engine | None,
        on_late: Callable[[Confidences], None] | None,
    ) -> _Started:
        try:
            if isinstance(image, Exception):
                return image
            if turns is not None and image.is_slow:
                return asyncio.ensure_future(self._predict_slow(image, turns, on_late))
            if inline_engine is not None:
                return self._pipeline.run_one(inline_engine, image)
            return self._batcher.put(image, on_late)
        except Exception as error:
            return error

    async def _predict_slow(
        self,
        image: EncodedImage,
        turns: RequestTurns,
        on_late: Callable[[Confidences], None] | None,
    ) -> Confidences:
        decode = functools.partial(self._pipeline.decode, image)
        pixels = await turns.decode(image.cost_s, decode)
        return await self._batcher.put(pixels, on_late)

    async def _collect(
        self, started: Sequence[_Started], seconds: float
    ) -> list[Confidences | Exception]:
        futures = [image for image in started if isinstance(image, asyncio.Future)]
        try:
            if futures:
                await asyncio.wait(futures, timeout=seconds)
            return [_outcome(image, self._late()) for image in started]
        finally:
            # Images that are still queued need not be processed any more.
            for future in futures:
                future.cancel()

    def _late(self) -> TimeoutError:
        return TimeoutError(f"not done within {self._deadline_s:g} s, the deadline")


def _warm_up(engine: Engine, model: LoadedModel, max_batch_size: int) -> None:
    """Build every kernel before the first request: OpenVINO builds some for each batch size."""
    for count in range(1, max_batch_size + 1):
        engine.predict(model.blank(count))


def _limit(config: ClassifierConfig) -> Load:
    return Load(config.max_ongoing_requests, config.max_ongoing_bytes)


def _decode_queue(config: ClassifierConfig) -> DecodeQueue:
    # At least two decoders: one image may take long. Together they have the replica's cores. One
    # client may use these alone, and leaves one decoder to the others.
    decoders = max(2, config.num_batch_threads)
    cores = min(decoders, max(1.0, config.num_cpus))
    return DecodeQueue(max(decoders, math.ceil(cores) + 1), cores, config.deadline_s)


def _engine_seconds(model: LoadedModel, config: ClassifierConfig) -> float:
    """The seconds for which the engine would block the event loop; infinite if it must not."""
    # While a GPU processes an image the event loop is free for others, so it is never blocked.
    if config.num_gpus:
        return math.inf
    return inline.blocking_seconds(model.engine, model.blank(1), config.engine_threads)


def _outcome(started: _Started, late: TimeoutError) -> Confidences | Exception:
    if not isinstance(started, asyncio.Future):
        return started
    if not started.done():
        return late
    error = started.exception()
    if error is None:
        return started.result()
    # A BaseException ends the process; it is never an image's outcome.
    if not isinstance(error, Exception):
        raise error
    return error
