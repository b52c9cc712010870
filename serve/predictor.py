"""From encoded images to confidences: what a replica admits, decodes and infers, in time.

Whatever takes time runs in a lane's thread, and the event loop only passes things on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ray.serve._private.common import RUNNING_REQUESTS_KEY

from pintag.engine import Confidences, Engine
from pintag.images import Encoded, Pixels
from serve import protocol, replica
from serve.config import ClassifierConfig
from serve.lanes import Lanes
from serve.metrics import Metrics, timed
from serve.neighbours import Neighbours
from serve.ongoing import Ongoing
from serve.replica import Replica

# Seconds for which a lone image may hold up the event loop.
_QUICK_SECONDS = 0.005


class Predictor:
    """A replica's lanes and its queue."""

    def __init__(
        self,
        replica: Replica,
        config: ClassifierConfig,
        metrics: Metrics,
        *,
        yields: bool = False,
    ) -> None:
        """Warms up: it takes seconds. For `yields` see `Neighbours`."""
        self._replica, self._config, self._metrics = replica, config, metrics
        # While lanes are busy other replicas' are, too: a batch keeps to what is reserved for it.
        threads = max(1, int(config.num_cpus / config.lanes))
        self._lane_engine = replica.engine_for(config.max_batch_size, threads)
        self._warm_up()
        self._lanes: Lanes[Encoded | Pixels, Confidences] = Lanes(
            functools.partial(self._classify, self._lane_engine),
            threads=config.lanes,
            batch=config.max_batch_size,
            on_wait=metrics.wait.observe,
        )
        # For pictures that would keep a whole batch waiting.
        self._slow = ThreadPoolExecutor(config.lanes, "pintag-decode")
        self._neighbours = Neighbours(yields=yields)
        self._ongoing = Ongoing()
        metrics.watch_queue(lambda: self._ongoing.images)

    async def predict(self, images: Sequence[bytes]) -> list[Confidences | Exception]:
        """The confidences of each encoded image, or why it has none.

        That is an `ImageError` where it is no image that is accepted, and a `TimeoutError` where
        the deadline passed. Cancelled, it begins no image any more.

        Raises:
            OverloadedError: as many images as the replica admits are under way.
        """
        with self._admitted(len(images)):
            return await self._in_time(images)

    def autoscaling_stats(self) -> dict[str, float]:
        """The requests here, in the mean since Ray last asked: in place of Ray's own count."""
        return {RUNNING_REQUESTS_KEY: self._ongoing.mean_requests()}

    @contextlib.contextmanager
    def _admitted(self, count: int) -> Iterator[None]:
        # A request of many images is not divided: it may be the last one in, whatever its size.
        ongoing = self._ongoing.images
        if ongoing >= self._config.max_ongoing_requests:
            raise protocol.OverloadedError(
                f"{ongoing} images are under way, as many as are admitted; try again",
                retry_after=math.ceil(ongoing * self._lanes.seconds_per_item) or 1,
            )
        if not ongoing:
            self._neighbours.begin()
        self._ongoing.begin(count)
        try:
            yield
        finally:
            self._ongoing.end(count)
            if not self._ongoing.images:
                self._neighbours.end()

    async def _in_time(self, images: Sequence[bytes]) -> list[Confidences | Exception]:
        seconds = self._config.deadline_seconds
        alone = await self._is_alone()
        begun = [self._begin(data, alone) for data in images]
        futures = [each for each in begun if isinstance(each, asyncio.Future)]
        try:
            if futures:
                await asyncio.wait(futures, timeout=seconds)
            late = TimeoutError(f"not done within {seconds:g} s, the deadline")
            return [_outcome(each, late) for each in begun]
        finally:
            # Nobody waits for them any more, if they have not come.
            for future in futures:
                future.cancel()

    def _begin(
        self, data: bytes, alone: bool
    ) -> asyncio.Future[Confidences] | Confidences | Exception:
        try:
            encoded = Encoded(data, self._replica.limits)
            if encoded.is_slow:
                return asyncio.ensure_future(self._slowly(encoded))
            return self._at_once(encoded) if alone else self._lanes.put(encoded)
        # Whatever it is, it is this image's; the others of its request have their answers.
        except Exception as error:
            return error

    def _at_once(self, encoded: Encoded) -> Confidences:
        pixels = self._decode(encoded)
        # It borrows a core while no other replica of the machine wants it.
        engine = self._lane_engine if self._neighbours.at_work() else self._replica.engine
        row: Confidences = self._infer(engine, pixels[np.newaxis])[0]
        return row

    async def _is_alone(self) -> bool:
        """Whether nobody else is here to wait for the event loop.

        Then an image is worked on where it is: a hop to a lane and back takes a tenth of its time.
        """
        if self._ongoing.images > 1 or not self._is_quick:
            return False
        # Those that came while the loop was busy are as far as this one in the same turn of it.
        await asyncio.sleep(0)
        return self._ongoing.images == 1

    async def _slowly(self, encoded: Encoded) -> Confidences:
        loop = asyncio.get_running_loop()
        return await self._lanes.put(await loop.run_in_executor(self._slow, self._decode, encoded))

    def _decode(self, encoded: Encoded) -> Pixels:
        with timed(self._metrics.decode):
            return encoded.decode(self._replica.engine.input_size)

    def _classify(
        self, engine: Engine, batch: Sequence[Encoded | Pixels]
    ) -> Sequence[Confidences | Exception]:
        """From images to confidences; one that has none costs its neighbours nothing."""
        decoded = [self._decoded(image) for image in batch]
        good = [each for each in decoded if not isinstance(each, Exception)]
        rows = iter(self._infer(engine, np.stack(good)) if good else ())
        return [each if isinstance(each, Exception) else next(rows) for each in decoded]

    def _decoded(self, image: Encoded | Pixels) -> Pixels | Exception:
        try:
            return self._decode(image) if isinstance(image, Encoded) else image
        # A want of memory, say; its neighbours may need less.
        except Exception as error:
            return error

    def _infer(self, engine: Engine, pixels: Pixels) -> Confidences:
        self._metrics.batch_size.observe(len(pixels))
        with timed(self._metrics.inference):
            return replica.predict(engine, pixels)

    def _warm_up(self) -> None:
        """Build every kernel before the first request, which would wait for them.

        OpenVINO builds some for each size of batch.
        """
        for count in range(1, self._config.max_batch_size + 1):
            self._lane_engine.predict(self._replica.blank(count))
        # While a GPU has an image the event loop is free for others.
        self._is_quick = not self._config.num_gpus and self._lone_seconds() < _QUICK_SECONDS
        # What is here stays here: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()

    def _lone_seconds(self) -> float:
        """What an image by itself takes, were the machine its own.

        That is counted in processor time: while replicas start, all at once, each waits for cores.
        """
        seconds = []
        for _ in range(5):
            started = time.process_time()
            self._replica.engine.predict(self._replica.blank(1))
            seconds.append(time.process_time() - started)
        return min(seconds) / self._config.engine_threads


def _outcome(
    begun: asyncio.Future[Confidences] | Confidences | Exception, late: TimeoutError
) -> Confidences | Exception:
    if not isinstance(begun, asyncio.Future):
        return begun
    if not begun.done():
        return late
    error = begun.exception()
    if error is None:
        return begun.result()
    # What is no Exception ends the process, and is nobody's answer.
    if not isinstance(error, Exception):
        raise error
    return error
