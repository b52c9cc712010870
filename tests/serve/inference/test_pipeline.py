"""The pipeline: confidences that are not numbers are an error, never an answer."""

from __future__ import annotations

import numpy as np
import pytest

from pintag.core.types import Confidences, Pixels
from pintag.serve.inference import pipeline

pytestmark = pytest.mark.ray


class OverflowingEngine:
    """Predicts a value for light images that is not finite."""

    name = "openvino"
    precision = "int8"
    input_size = 8

    def __init__(self, value: float) -> None:
        self._value = value

    def predict(self, pixels: Pixels) -> Confidences:
        light = pixels.mean((1, 2, 3)) > 128
        return np.where(light, self._value, 0.5).astype(np.float32)[:, np.newaxis]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_confidence_that_is_not_finite_fails_the_batch(value: float) -> None:
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    engine = OverflowingEngine(value)
    np.testing.assert_array_equal(pipeline.infer(engine, pixels), np.full((3, 1), 0.5))
    pixels[1] = 255
    with pytest.raises(RuntimeError, match="NaN or infinite"):
        pipeline.infer(engine, pixels)
