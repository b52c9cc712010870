"""Nothing holds up the event loop of a replica, whatever is uploaded."""

from __future__ import annotations

import asyncio
import hashlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pintag.core.types import Pixels
from pintag.images import decoding
from pintag.serve.deployment_config import ClassifierConfig
from pintag.serve.inference import inline, off_loop
from pintag.serve.inference.core_sharing import BusyLock
from pintag.serve.inference.predictor import Predictor
from pintag.serve.observability.metrics import ClassifierMetrics
from tests.pintag.images.encoded import chunk, encode, smooth
from tests.pintag.images.hostile import png_of_empty_chunks, progressive_jpeg
from tests.serve.conftest import INFO
from tests.serve.inference.test_predictor import BrightnessEngine, BrightnessModel
from tests.serve.loop_lag import LIMIT_S, SMALL, Measure, longest

__all__ = ["longest"]

pytestmark = pytest.mark.ray

LARGE_JPEG = encode(Image.new("RGB", (5000, 3000), "red"), "JPEG")


def noise(mode: str, side: int) -> Image.Image:
    channels = Image.new(mode, (1, 1)).getbands()
    samples = np.random.default_rng(0).integers(0, 256, side * side * len(channels), np.uint8)
    return Image.frombytes(mode, (side, side), samples.tobytes())


def transparent_noise(side: int) -> bytes:
    image = noise("RGB", side)
    image.putalpha(Image.linear_gradient("L").resize((side, side)))
    return encode(image, "WEBP", quality=95, method=1)


def deep_png(side: int) -> bytes:
    """16-bit RGBA samples behind the Paeth filter, which costs most; equal rows are few bytes."""
    row = b"\4" + noise("L", 100).tobytes()[: side * 8]
    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(row * side)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in parts)


def largest_of(make: Callable[[int], bytes]) -> bytes:
    """The largest image that is decoded in the loop."""
    side = 900
    while decoding.EncodedImage(data := make(side)).is_slow:
        side = side * 19 // 20
    return data


def largest_noise(mode: str, form: str, **options: Any) -> bytes:
    return largest_of(lambda side: encode(noise(mode, side), form, **options))


def largest_fast(form: str, **options: Any) -> bytes:
    """The largest noisy image of a format that is decoded in the loop."""
    side = 1200
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    smoothed = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1))
    while decoding.EncodedImage(data := encode(smoothed, form, **options)).is_slow:
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
    "a progressive JPEG of noise": lambda: [
        largest_noise("RGB", "JPEG", quality=75, progressive=True)
    ],
    "a CMYK JPEG": lambda: [largest_noise("CMYK", "JPEG", quality=50)],
    "a progressive CMYK JPEG": lambda: [
        largest_noise("CMYK", "JPEG", quality=50, progressive=True)
    ],
    "a WebP of noise": lambda: [largest_noise("RGB", "WEBP", quality=95, method=1)],
    "a transparent WebP of noise": lambda: [largest_of(transparent_noise)],
    "a PNG of 16 bits": lambda: [largest_of(deep_png)],
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


class PhotographEngine(BrightnessEngine):
    """The engine for pictures of the usual size, which costs more than a tiny one."""

    input_size = 224


class PhotographModel(BrightnessModel):
    engine = PhotographEngine()

    def blank(self, count: int) -> Pixels:
        return np.zeros((count, 224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    busy = BusyLock(tmp_path_factory.mktemp("busy"))
    config = ClassifierConfig(max_batch_size=4)
    return Predictor(PhotographModel(), config, ClassifierMetrics(INFO), busy)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", UPLOADS)
def test_no_upload_holds_up_the_loop(name: str, predictor: Predictor, longest: Measure) -> None:
    uploads = UPLOADS[name]()
    assert longest(lambda: predictor.predict(uploads)) < LIMIT_S


def test_hashing_a_large_batch_does_not_hold_up_the_loop(longest: Measure) -> None:
    batch = [bytes(2**20)] * 64
    assert longest(lambda: off_loop.map_images(hashlib.sha256, batch)) < LIMIT_S


def test_a_loop_that_is_held_up_would_be_noticed(longest: Measure) -> None:
    async def block() -> None:
        decoding.EncodedImage(LARGE_JPEG).decode_here()

    assert longest(block) > LIMIT_S


def test_a_small_photograph_is_processed_without_a_thread(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("passed to a thread")

    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", fail)
    monkeypatch.setattr(predictor._batcher, "put", fail)

    (row,) = asyncio.run(predictor.predict([SMALL]))
    assert not isinstance(row, Exception)


def test_a_photograph_that_takes_long_together_with_the_engine_is_batched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each alone is below the limit."""
    monkeypatch.setattr(inline, "blocking_seconds", lambda *_: 0.004)
    config = ClassifierConfig(max_batch_size=4)
    metrics = ClassifierMetrics(INFO)
    predictor = Predictor(PhotographModel(), config, metrics, BusyLock(tmp_path))  # type: ignore[arg-type]
    monkeypatch.setattr(predictor._pipeline, "run_one", lambda *_: AssertionError("in the loop"))

    (row,) = asyncio.run(predictor.predict([UPLOADS["the largest fast JPEG"]()[0]]))
    assert not isinstance(row, Exception)
