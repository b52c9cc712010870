"""Nothing holds up the event loop of a replica, whatever is uploaded.

What counts is the processor time of the loop's thread in one turn, the shortest of several runs:
other processes that share the caches of a processor make single runs longer.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pintag.data import images
from pintag.serve.deployment_config import ClassifierConfig
from pintag.serve.inference import off_loop
from pintag.serve.inference.core_sharing import BusyLock
from pintag.serve.inference.predictor import Predictor
from pintag.serve.observability.metrics import ClassifierMetrics
from tests.pintag.data.encoded import encode, smooth
from tests.pintag.data.hostile import png_of_empty_chunks, progressive_jpeg
from tests.serve.conftest import INFO
from tests.serve.inference.test_predictor import BrightnessModel

pytestmark = pytest.mark.ray

LIMIT_S = 0.005
REPEATS = 3
SMALL = encode(smooth(256, 192), "JPEG")
LARGE_JPEG = encode(Image.new("RGB", (5000, 3000), "red"), "JPEG")


def largest_fast(form: str, **options: Any) -> bytes:
    """The largest noisy image of a format that is decoded in the loop."""
    side = 1200
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    smoothed = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1))
    while images.EncodedImage(data := encode(smoothed, form, **options)).is_slow:
        side = side * 9 // 10
        smoothed = smoothed.crop((0, 0, side, side))
        if form in ("PNG", "WEBP"):
            smoothed.putalpha(128)
    return data


# Made when they are needed: some take a second to encode.
UPLOADS: dict[str, Callable[[], list[bytes]]] = {
    "the largest fast JPEG": lambda: [largest_fast("JPEG", quality=90)],
    "the largest fast progressive JPEG": lambda: [
        largest_fast("JPEG", quality=90, progressive=True)
    ],
    "the largest fast PNG": lambda: [largest_fast("PNG")],
    "the largest fast WebP": lambda: [largest_fast("WEBP")],
    "the largest fast lossless WebP": lambda: [largest_fast("WEBP", lossless=True)],
    "the largest fast GIF": lambda: [largest_fast("GIF")],
    "the largest fast BMP": lambda: [largest_fast("BMP")],
    "15 megapixels as JPEG": lambda: [LARGE_JPEG],
    "2 megapixels as PNG": lambda: [encode(smooth(1600, 1250), "PNG", compress_level=1)],
    "a JPEG of 6,500 scans": lambda: [progressive_jpeg(400, 390, 6500)],
    "a PNG of empty chunks": lambda: [png_of_empty_chunks(200_000)],
    "a GIF of empty comments": lambda: [
        encode(Image.new("L", (9, 9)), "GIF")[:19] + b"!\xfe\0" * 500_000
    ],
    "a JPEG of empty markers": lambda: [SMALL[:2] + b"\xff\xfe\0\2" * 500_000 + SMALL[2:]],
    "a JPEG of padding": lambda: [SMALL[:2] + b"\xff" * 2_000_000 + SMALL[2:]],
    "text": lambda: [b"<?xml " + b" " * 2_000_000],
    "another format": lambda: [b"II*\0" + bytes(100)],
    "256 small images": lambda: [SMALL] * 256,
}


@pytest.fixture(scope="module")
def machine() -> float:
    """How many times slower this machine is than the one of docs/performance.md, at least 1."""
    seconds = []
    for _ in range(20):
        started = time.thread_time()
        images.decode(SMALL, 160)
        seconds.append(time.thread_time() - started)
    return max(1.0, min(seconds) / 0.0004)


Work = Callable[[], Coroutine[Any, Any, Any]]
Measure = Callable[[Work], float]


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Measure]:
    """Runs a coroutine several times, and returns the seconds of its loop's longest turn in the
    best run."""
    turns: list[float] = []
    run = asyncio.events.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        started = time.thread_time()
        run(handle)
        turns.append(time.thread_time() - started)

    async def waited(work: Work) -> None:
        await asyncio.wait_for(work(), 60)

    def once(work: Work) -> float:
        turns.clear()
        asyncio.run(waited(work))
        return max(turns)

    def measure(work: Work) -> float:
        return min(once(work) for _ in range(REPEATS))

    monkeypatch.setattr(asyncio.events.Handle, "_run", timed)
    # A collection of the whole heap of the tests would count.
    gc.disable()
    yield measure
    gc.enable()


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    busy = BusyLock(tmp_path_factory.mktemp("busy"))
    config = ClassifierConfig(max_batch_size=4)
    return Predictor(BrightnessModel(), config, ClassifierMetrics(INFO), busy)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", UPLOADS)
def test_no_upload_holds_up_the_loop(
    name: str, predictor: Predictor, longest: Measure, machine: float
) -> None:
    uploads = UPLOADS[name]()
    assert longest(lambda: predictor.predict(uploads)) < LIMIT_S * machine


def test_hashing_a_large_batch_does_not_hold_up_the_loop(longest: Measure, machine: float) -> None:
    batch = [bytes(2**20)] * 64
    assert longest(lambda: off_loop.map_images(hashlib.sha256, batch)) < LIMIT_S * machine


def test_a_loop_that_is_held_up_would_be_noticed(longest: Measure, machine: float) -> None:
    async def block() -> None:
        images.EncodedImage(LARGE_JPEG).decode_here()

    assert longest(block) > LIMIT_S * machine


def test_a_small_photograph_is_processed_without_a_thread(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("passed to a thread")

    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", fail)
    monkeypatch.setattr(predictor._batcher, "put", fail)

    (row,) = asyncio.run(predictor.predict([SMALL]))
    assert not isinstance(row, Exception)
