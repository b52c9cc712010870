"""The order of slow images, with decoders that are held and only record what they get."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pintag.core.types import Pixels
from pintag.data.images import EncodedImage
from pintag.serve.deployment_config import ClassifierConfig
from pintag.serve.inference.core_sharing import BusyLock
from pintag.serve.inference.decode_queue import DecodeQueue
from pintag.serve.inference.predictor import Predictor
from pintag.serve.observability.metrics import ClassifierMetrics
from tests.pintag.data.hostile import jpeg_head, wide_webp
from tests.serve.conftest import INFO
from tests.serve.inference.test_predictor import SIZE, BrightnessModel

pytestmark = pytest.mark.ray

WEBP_S, PHOTO_S = 1.2, 0.08


class Decoder:
    """Records the names of images in the order in which they are decoded, once it is released."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.busy, self.released = threading.Event(), threading.Event()

    def decode(self, name: str) -> Pixels:
        self.busy.set()
        assert self.released.wait(30)
        self.order.append(name)
        return np.zeros((1, 1, 3), np.uint8)

    def work(self, name: str) -> Callable[[], Pixels]:
        return lambda: self.decode(name)


class Clock:
    """Stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def batch(queue: DecodeQueue, decoder: Decoder, name: str, count: int) -> None:
    turns = queue.request()
    work = [decoder.work(name)] * count
    await asyncio.gather(*(turns.decode(WEBP_S, each) for each in work))


async def until_busy(decoder: Decoder) -> None:
    assert await asyncio.to_thread(decoder.busy.wait, 30)


def run(steps: Callable[[DecodeQueue, Decoder, Clock], object], threads: int = 1) -> list[str]:
    """Run the steps, and return the order in which the images were decoded."""
    clock, decoder = Clock(), Decoder()
    asyncio.run(asyncio.wait_for(steps(DecodeQueue(threads, 128, clock), decoder, clock), 30))  # type: ignore[arg-type]
    return decoder.order


@pytest.mark.parametrize("waited_s", [0, 9.9])
def test_a_photograph_waits_for_the_decode_in_progress_only(waited_s: float) -> None:
    async def steps(queue: DecodeQueue, decoder: Decoder, clock: Clock) -> None:
        batches = [
            asyncio.ensure_future(batch(queue, decoder, f"batch {number}", 5))
            for number in range(20)
        ]
        await until_busy(decoder)
        clock.now += waited_s
        photo = asyncio.ensure_future(queue.request().decode(PHOTO_S, decoder.work("photo")))
        await asyncio.sleep(0)
        decoder.released.set()
        await asyncio.gather(photo, *batches)

    order = run(steps)
    assert order.index("photo") == 1
    assert len(order) == 101


def test_requests_with_equal_images_take_turns() -> None:
    async def steps(queue: DecodeQueue, decoder: Decoder, clock: Clock) -> None:
        batches = [asyncio.ensure_future(batch(queue, decoder, name, 3)) for name in "ABC"]
        await until_busy(decoder)
        decoder.released.set()
        await asyncio.gather(*batches)

    order = run(steps)
    assert [set(order[at : at + 3]) for at in (0, 3, 6)] == [set("ABC")] * 3


def test_a_costly_image_is_not_overtaken_for_ever() -> None:
    """Its share of one decoder for 128 requests has decoded it after 128 times its cost."""

    async def steps(queue: DecodeQueue, decoder: Decoder, clock: Clock) -> None:
        started = [asyncio.ensure_future(batch(queue, decoder, "in progress", 1))]
        await until_busy(decoder)
        for name, seconds, now in (
            ("costly", WEBP_S, 0),
            ("early", PHOTO_S, 128 * (WEBP_S - PHOTO_S) - 1),
            ("late", PHOTO_S, 128 * (WEBP_S - PHOTO_S) + 1),
        ):
            clock.now = now
            work = queue.request().decode(seconds, decoder.work(name))
            started.append(asyncio.ensure_future(work))
            await asyncio.sleep(0)
        decoder.released.set()
        await asyncio.gather(*started)

    assert run(steps) == ["in progress", "early", "costly", "late"]


def test_what_a_request_had_before_counts() -> None:
    """An idle decoder takes its images early; it gets no more than its share by that."""

    async def steps(queue: DecodeQueue, decoder: Decoder, clock: Clock) -> None:
        decoder.released.set()
        turns = queue.request()
        for _ in range(3):
            await turns.decode(WEBP_S, decoder.work("before"))
        decoder.released.clear()
        decoder.busy.clear()
        started = [asyncio.ensure_future(batch(queue, decoder, "in progress", 1))]
        await until_busy(decoder)
        started.append(asyncio.ensure_future(turns.decode(PHOTO_S, decoder.work("old"))))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        work = queue.request().decode(WEBP_S, decoder.work("new"))
        started.append(asyncio.ensure_future(work))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        decoder.released.set()
        await asyncio.gather(*started)

    assert run(steps)[3:] == ["in progress", "new", "old"]


def test_a_cancelled_image_is_skipped_and_leaves_the_memory_at_once() -> None:
    class Work:
        def __call__(self) -> Pixels:
            raise AssertionError("decoded")

    async def steps(queue: DecodeQueue, decoder: Decoder, clock: Clock) -> None:
        first = asyncio.ensure_future(batch(queue, decoder, "first", 1))
        await until_busy(decoder)
        work = Work()
        kept = weakref.ref(work)
        waiting = asyncio.ensure_future(queue.request().decode(0, work))
        del work
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        del waiting
        gc.collect()
        assert kept() is None
        decoder.released.set()
        await first
        await batch(queue, decoder, "second", 1)

    assert run(steps) == ["first", "second"]


def test_an_error_belongs_to_its_image() -> None:
    def fail() -> Pixels:
        raise MemoryError

    async def steps(queue: DecodeQueue, decoder: Decoder, clock: Clock) -> None:
        decoder.released.set()
        with pytest.raises(MemoryError):
            await queue.request().decode(0, fail)
        await batch(queue, decoder, "next", 1)

    assert run(steps) == ["next"]


def test_twenty_batches_do_not_delay_the_photograph_of_another_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch has 230 bytes, and declares 245 megapixels."""
    config = ClassifierConfig(num_cpus=1, max_batch_size=4, max_ongoing_pixels=20_000_000_000)
    model, busy = BrightnessModel(), BusyLock(tmp_path)
    predictor = Predictor(model, config, ClassifierMetrics(INFO), busy)  # type: ignore[arg-type]
    decoder = Decoder()

    def decode(image: EncodedImage, size: int) -> Pixels:
        decoder.decode("photo" if image.pixels == 12_000_000 else "wide")
        return np.zeros((SIZE, SIZE, 3), np.uint8)

    monkeypatch.setattr(EncodedImage, "decode", decode)

    async def until_waiting(count: int) -> None:
        while len(predictor._decode_queue._waiting) != count:
            await asyncio.sleep(0)

    async def steps() -> None:
        wide = wide_webp(16383, 2990)
        batches = [asyncio.ensure_future(predictor.predict([wide] * 5)) for _ in range(20)]
        # One image of each request waits, apart from the two in progress.
        await until_waiting(18)
        photo = asyncio.ensure_future(predictor.predict([jpeg_head(4000, 3000)]))
        await until_waiting(19)
        decoder.released.set()
        await asyncio.gather(photo, *batches)

    asyncio.run(asyncio.wait_for(steps(), 30))
    assert decoder.order.index("photo") <= 2
    assert len(decoder.order) == 101
