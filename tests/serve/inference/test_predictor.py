"""A predictor with a small fake engine: each image has its own outcome."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pintag.core.errors import DecodingError, ImageTooLargeError, NotAnImageError
from pintag.core.types import Confidences, Pixels
from pintag.images.decoding import EncodedImage
from pintag.images.limits import ImageLimits
from pintag.serve.deployment_config import ClassifierConfig
from pintag.serve.inference.core_sharing import BusyLock
from pintag.serve.inference.predictor import Predictor
from pintag.serve.observability.metrics import ClassifierMetrics
from tests.pintag.images.hostile import slow_jpeg, wide_webp
from tests.serve.conftest import INFO

pytestmark = pytest.mark.ray

SIZE = 8
DARK, LIGHT = 32, 224


class BrightnessEngine:
    """Predicts how dark and how light an image is."""

    name = "openvino"
    input_size = SIZE

    def predict(self, pixels: Pixels) -> Confidences:
        light = pixels.mean((1, 2, 3), np.float32) / 255
        return np.stack([1 - light, light], 1)


class BrightnessModel:
    """A loaded model with that engine, and nothing else."""

    engine = BrightnessEngine()
    limits = ImageLimits()

    def blank(self, count: int) -> Pixels:
        return np.zeros((count, SIZE, SIZE, 3), np.uint8)

    def engine_for(self, size: int, threads: int) -> BrightnessEngine:
        return self.engine


class HeldEngine(BrightnessEngine):
    """The same engine; it waits until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.released.set()

    def predict(self, pixels: Pixels) -> Confidences:
        assert self.released.wait(30)
        return super().predict(pixels)


class HeldModel(BrightnessModel):
    """A loaded model with that engine."""

    def __init__(self) -> None:
        self.engine: HeldEngine = HeldEngine()


def picture(brightness: int, side: int = SIZE) -> bytes:
    content = io.BytesIO()
    Image.new("L", (side, side), brightness).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    config = ClassifierConfig(num_cpus=1, max_batch_size=4)
    model, busy = BrightnessModel(), BusyLock(tmp_path)
    return Predictor(model, config, ClassifierMetrics(INFO), busy)  # type: ignore[arg-type]


def predict(predictor: Predictor, images: Sequence[bytes]) -> list[Confidences | Exception]:
    async def bounded() -> list[Confidences | Exception]:
        return await asyncio.wait_for(predictor.predict(images), 60)

    return asyncio.run(bounded())


def lightness(outcome: Confidences | Exception) -> float:
    assert isinstance(outcome, np.ndarray), outcome
    return float(outcome[1])


def test_each_image_of_a_request_has_its_confidences_or_its_error_in_order(
    predictor: Predictor,
) -> None:
    dark, bad, light = predict(predictor, [picture(DARK), b"no image", picture(LIGHT)])

    assert lightness(dark) == pytest.approx(DARK / 255)
    assert lightness(light) == pytest.approx(LIGHT / 255)
    assert isinstance(bad, NotAnImageError)


def test_a_lone_image_and_a_slow_one_are_predicted_alike(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (alone,) = predict(predictor, [picture(LIGHT)])
    monkeypatch.setattr(EncodedImage, "is_slow", True)
    (slow,) = predict(predictor, [picture(LIGHT)])

    assert lightness(alone) == lightness(slow) == pytest.approx(LIGHT / 255)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_lack_of_memory_for_one_image_does_not_affect_the_others(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    decode = EncodedImage.decode

    def fail_on_light(encoded: EncodedImage, size: int) -> Pixels:
        pixels = decode(encoded, size)
        if pixels.mean() > 128:
            raise MemoryError
        return pixels

    monkeypatch.setattr(EncodedImage, "decode", fail_on_light)

    *rest, last = predict(predictor, [picture(DARK)] * (count - 1) + [picture(LIGHT)])

    assert isinstance(last, MemoryError)
    assert [lightness(outcome) for outcome in rest] == pytest.approx([DARK / 255] * (count - 1))


def test_an_image_whose_head_cannot_be_read_does_not_affect_the_others(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_image = EncodedImage.__init__

    def fail_on_heavy(self: EncodedImage, data: bytes, limits: ImageLimits) -> None:
        if data == b"heavy":
            raise MemoryError
        open_image(self, data, limits)

    monkeypatch.setattr(EncodedImage, "__init__", fail_on_heavy)

    heavy, light = predict(predictor, [b"heavy", picture(LIGHT)])

    assert isinstance(heavy, MemoryError)
    assert lightness(light) == pytest.approx(LIGHT / 255)


def test_a_request_has_half_of_the_free_images_in_progress_and_all_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    engine_predict = BrightnessEngine.predict

    def record(self: BrightnessEngine, pixels: Pixels) -> Confidences:
        sizes.append(len(pixels))
        return engine_predict(self, pixels)

    config = ClassifierConfig(max_batch_size=8, max_ongoing_requests=8)
    model, busy = BrightnessModel(), BusyLock(tmp_path)
    predictor = Predictor(model, config, ClassifierMetrics(INFO), busy)  # type: ignore[arg-type]
    monkeypatch.setattr(BrightnessEngine, "predict", record)

    outcomes = predict(predictor, [picture(value) for value in range(0, 200, 10)])

    assert [lightness(each) for each in outcomes] == pytest.approx(
        [value / 255 for value in range(0, 200, 10)]
    )
    assert sum(sizes) == 20
    assert max(sizes) <= 4


def test_a_request_that_takes_longer_than_the_deadline_is_refused_before_anything_is_decoded(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 bytes may declare 49 megapixels, and a batch may have 256 of them."""
    wide = wide_webp(7000, 7000)
    monkeypatch.delattr(EncodedImage, "decode")

    words = r"decoding may take 3\d\d\.\d s, and the deadline is 10 s; send smaller images, or"
    with pytest.raises(ImageTooLargeError, match=words):
        predict(predictor, [wide] * 256)


def test_images_after_the_deadline_are_late(tmp_path: Path) -> None:
    config = ClassifierConfig(max_batch_size=1, max_ongoing_requests=2, deadline_s=1e-9)
    model, busy = BrightnessModel(), BusyLock(tmp_path)
    predictor = Predictor(model, config, ClassifierMetrics(INFO), busy)  # type: ignore[arg-type]
    *_, last = predict(predictor, [picture(DARK)] * 5)
    assert isinstance(last, TimeoutError)


def test_an_image_that_takes_too_long_to_decode_fails_alone(tmp_path: Path) -> None:
    model = BrightnessModel()
    model.limits = ImageLimits(decode_timeout_s=0.1)
    predictor = Predictor(
        model,  # type: ignore[arg-type]
        ClassifierConfig(),
        ClassifierMetrics(INFO),
        BusyLock(tmp_path),
    )
    slow, light = predict(predictor, [slow_jpeg(), picture(LIGHT)])

    assert isinstance(slow, DecodingError)
    assert lightness(light) == pytest.approx(LIGHT / 255)


def test_after_a_request_nothing_is_in_flight(predictor: Predictor) -> None:
    predict(predictor, [picture(DARK), b"no image", picture(LIGHT)])
    predictor.autoscaling_stats()

    (mean,) = predictor.autoscaling_stats().values()
    assert mean == 0


def test_an_image_in_progress_at_the_deadline_is_passed_on_later(tmp_path: Path) -> None:
    config = ClassifierConfig(num_cpus=1, max_batch_size=4, deadline_s=0.01)
    held = HeldModel()
    predictor = Predictor(held, config, ClassifierMetrics(INFO), BusyLock(tmp_path))  # type: ignore[arg-type]
    held.engine.released.clear()
    late: dict[int, Confidences] = {}

    async def steps() -> list[Confidences | Exception]:
        outcomes = await predictor.predict([picture(DARK), picture(LIGHT)], late.__setitem__)
        assert late == {}
        held.engine.released.set()
        async with asyncio.timeout(30):
            while not late:
                await asyncio.sleep(0.01)
        return outcomes

    outcomes = asyncio.run(steps())
    assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 2
    assert {index: lightness(row) for index, row in late.items()} == pytest.approx(
        dict(list(enumerate([DARK / 255, LIGHT / 255]))[: len(late)])
    )
