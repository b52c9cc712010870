"""The classifier deployment: admit, decode, infer. It is the ingress of its own application.

Under throughput mode this code shares the event loop with Ray's own server: whatever takes time
runs in a lane's thread, and the loop only passes things on.
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
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import serve

from pintag.engine import Confidences, Engine
from pintag.errors import ImageError
from pintag.images import Encoded, Pixels
from pintag.labels import Tag
from serve import access, http, protocol, replica
from serve.cache import AnswerCache
from serve.config import AccessConfig, ClassifierConfig, EngineConfig
from serve.lanes import Lanes
from serve.metrics import Metrics, timed
from serve.neighbours import Neighbours
from serve.replica import Replica

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# Seconds for which a lone image may hold up the event loop.
_QUICK_SECONDS = 0.005


@serve.deployment
@serve.ingress()
class Classifier:
    """Tags images with one bundle."""

    def __init__(
        self,
        place: str,
        settings: dict[str, Any],
        engine: dict[str, Any],
        door: dict[str, Any],
        explained: bool = True,
    ) -> None:
        """From a `ClassifierConfig`, an `EngineConfig` and an `AccessConfig`, as plain data.

        `explained` says whether there is an explainer beside it, to tell clients of.
        """
        self._access = AccessConfig.model_validate(door)
        self.config = ClassifierConfig.model_validate(settings)
        self._replica = Replica(place, self.config, EngineConfig.model_validate(engine))
        self.info = self._replica.info.model_copy(update={"explained": explained})
        self.model = self._replica.model
        self.metrics = Metrics(self.info)
        self._cache = AnswerCache(self.config.cache_bytes)
        # While lanes are busy other replicas' are, too: a batch keeps to what is reserved for it.
        threads = max(1, int(self.config.num_cpus / self.config.lanes))
        self._lane_engine = self._replica.engine_for(self.config.max_batch_size, threads)
        self._lone_engine = self._replica.engine_for(1, self.config.engine_threads)
        self._warm_up()
        self._lanes: Lanes[Encoded | Pixels, Confidences] = Lanes(
            functools.partial(self._classify, self._lane_engine),
            threads=self.config.lanes,
            batch=self.config.max_batch_size,
            on_wait=self.metrics.wait.observe,
        )
        # For pictures that would keep a whole batch waiting.
        self._slow = ThreadPoolExecutor(self.config.lanes, "pintag-decode")
        self._neighbours = Neighbours()
        # Images admitted and not yet answered.
        self._ongoing = 0
        self.metrics.watch_queue(lambda: self._ongoing)
        self.metrics.watch_cache(self._cache)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return access.guard(http.build(self), self._access, self.metrics)

    async def check_health(self) -> None:
        """See `Replica.check`."""
        await asyncio.get_running_loop().run_in_executor(None, self._replica.check)

    async def tag(
        self, images: Sequence[bytes], max_tags: int, min_confidence: float
    ) -> list[list[Tag] | Exception]:
        """The tags of each encoded image of a request, or why it has none.

        That is an `ImageError` where it is no image that is accepted, and a `TimeoutError` where
        the deadline passed. Cancelled, it begins no image any more.

        Raises:
            OverloadedError: as many images as the replica admits are under way.
        """
        keys = [self._cache.key(data) for data in images]
        rows: list[Confidences | Exception | None] = [self._cache.get(key) for key in keys]
        missing = [place for place, row in enumerate(rows) if row is None]
        self.metrics.count_lookups(len(rows) - len(missing), len(missing), self._cache)
        if missing:
            with self._admitted(len(missing)):
                found = await self._in_time([images[place] for place in missing])
            for place, row in zip(missing, found, strict=True):
                rows[place] = row
                if not isinstance(row, Exception):
                    self._cache.put(keys[place], row)
        return [self._tags(row, max_tags, min_confidence) for row in rows]

    def _tags(
        self, row: Confidences | Exception | None, max_tags: int, min_confidence: float
    ) -> list[Tag] | Exception:
        assert row is not None
        if isinstance(row, Exception):
            return row
        labels = self._replica.labels
        tags = labels.top(row, max_tags, min_confidence)
        first = int(row.argmax())
        self.metrics.count_tags(labels[first], float(row[first]), len(tags))
        return tags

    @contextlib.contextmanager
    def _admitted(self, count: int) -> Iterator[None]:
        # A request of many images is not divided: it may be the last one in, whatever its size.
        if self._ongoing >= self.config.max_ongoing_requests:
            raise protocol.OverloadedError(
                f"{self._ongoing} images are under way, as many as are admitted; try again",
                retry_after=math.ceil(self._ongoing * self._lanes.seconds_per_item) or 1,
            )
        if not self._ongoing:
            self._neighbours.begin()
        self._ongoing += count
        try:
            yield
        finally:
            self._ongoing -= count
            if not self._ongoing:
                self._neighbours.end()

    async def _in_time(self, images: Sequence[bytes]) -> list[Confidences | Exception]:
        seconds = self.config.deadline_seconds
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
        except ImageError as error:
            return error
        if encoded.is_slow:
            return asyncio.ensure_future(self._slowly(encoded))
        return self._at_once(encoded) if alone else self._lanes.put(encoded)

    def _at_once(self, encoded: Encoded) -> Confidences | ImageError:
        pixels = self._decoded(encoded)
        if isinstance(pixels, ImageError):
            return pixels
        # It borrows a core while no other replica of the machine wants it.
        engine = self._lane_engine if self._neighbours.at_work() else self._lone_engine
        row: Confidences = self._infer(engine, pixels[np.newaxis])[0]
        return row

    async def _is_alone(self) -> bool:
        """Whether nobody else is here to wait for the event loop.

        Then an image is worked on where it is: a hop to a lane and back takes a tenth of its time.
        """
        if self._ongoing > 1 or not self._is_quick:
            return False
        # Those that came while the loop was busy are as far as this one in the same turn of it.
        await asyncio.sleep(0)
        return self._ongoing == 1

    async def _slowly(self, encoded: Encoded) -> Confidences:
        loop = asyncio.get_running_loop()
        return await self._lanes.put(await loop.run_in_executor(self._slow, self._decode, encoded))

    def _decode(self, encoded: Encoded) -> Pixels:
        with timed(self.metrics.decode):
            return encoded.decode(self._replica.engine.input_size)

    def _classify(
        self, engine: Engine, batch: Sequence[Encoded | Pixels]
    ) -> Sequence[Confidences | Exception]:
        """From images to confidences; a corrupt one costs its neighbours nothing."""
        decoded = [self._decoded(image) for image in batch]
        good = [each for each in decoded if not isinstance(each, ImageError)]
        rows = iter(self._infer(engine, np.stack(good)) if good else ())
        return [each if isinstance(each, ImageError) else next(rows) for each in decoded]

    def _decoded(self, image: Encoded | Pixels) -> Pixels | ImageError:
        try:
            return self._decode(image) if isinstance(image, Encoded) else image
        except ImageError as error:
            return error

    def _infer(self, engine: Engine, pixels: Pixels) -> Confidences:
        self.metrics.batch_size.observe(len(pixels))
        with timed(self.metrics.inference):
            return replica.predict(engine, pixels)

    def _warm_up(self) -> None:
        """Build every kernel before the first request, which would wait for them.

        OpenVINO builds some for each size of batch.
        """
        for count in range(1, self.config.max_batch_size + 1):
            self._lane_engine.predict(self._replica.blank(count))
        self._is_quick = self._lone_seconds() < _QUICK_SECONDS
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
            self._lone_engine.predict(self._replica.blank(1))
            seconds.append(time.process_time() - started)
        return min(seconds) / self.config.engine_threads


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
