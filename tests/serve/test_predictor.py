"""A predictor over an engine of few lines: each image has its own outcome."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from pintag.engine import Confidences
from pintag.errors import NotAnImageError
from pintag.images import Encoded, Limits, Pixels
from serve.config import ClassifierConfig
from serve.metrics import Metrics
from serve.predictor import Predictor
from tests.serve.conftest import INFO

pytestmark = pytest.mark.ray

SIZE = 8
DARK, LIGHT = 32, 224


class BrightnessEngine:
    """Confident that an image is dark, or light."""

    name = "openvino"
    input_size = SIZE

    def predict(self, images: Pixels) -> Confidences:
        light = images.mean((1, 2, 3), np.float32) / 255
        return np.stack([1 - light, light], 1)


class PlainReplica:
    """No more than that engine."""

    engine = BrightnessEngine()
    limits = Limits()

    def blank(self, count: int) -> Pixels:
        return np.zeros((count, SIZE, SIZE, 3), np.uint8)

    def engine_for(self, size: int, threads: int) -> BrightnessEngine:
        return self.engine


def picture(brightness: int, side: int = SIZE) -> bytes:
    content = io.BytesIO()
    Image.new("L", (side, side), brightness).save(content, "PNG")
    return content.getvalue()


def predicted(images: Sequence[bytes]) -> list[Confidences | Exception]:
    config = ClassifierConfig(num_cpus=1, max_batch_size=4)
    made = Predictor(PlainReplica(), config, Metrics(INFO))  # type: ignore[arg-type]

    async def ask() -> list[Confidences | Exception]:
        return await asyncio.wait_for(made.predict(images), 60)

    return asyncio.run(ask())


def lightness(outcome: Confidences | Exception) -> float:
    assert isinstance(outcome, np.ndarray), outcome
    return float(outcome[1])


def test_each_image_of_a_request_has_its_row_or_its_error_in_order() -> None:
    dark, bad, light = predicted([picture(DARK), b"no image", picture(LIGHT)])

    assert lightness(dark) == pytest.approx(DARK / 255)
    assert lightness(light) == pytest.approx(LIGHT / 255)
    assert isinstance(bad, NotAnImageError)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_an_image_that_there_is_no_memory_for_costs_its_neighbours_nothing(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    decode = Encoded.decode

    def strained(encoded: Encoded, size: int) -> Pixels:
        pixels = decode(encoded, size)
        if pixels.mean() > 128:
            raise MemoryError
        return pixels

    monkeypatch.setattr(Encoded, "decode", strained)

    *rest, last = predicted([picture(DARK)] * (count - 1) + [picture(LIGHT)])

    assert isinstance(last, MemoryError)
    assert [lightness(each) for each in rest] == pytest.approx([DARK / 255] * (count - 1))


def test_an_image_whose_beginning_cannot_be_read_costs_its_neighbours_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = Encoded.__init__

    def strained(self: Encoded, data: bytes, limits: Limits) -> None:
        if data == b"heavy":
            raise MemoryError
        begin(self, data, limits)

    monkeypatch.setattr(Encoded, "__init__", strained)

    heavy, light = predicted([b"heavy", picture(LIGHT)])

    assert isinstance(heavy, MemoryError)
    assert lightness(light) == pytest.approx(LIGHT / 255)
