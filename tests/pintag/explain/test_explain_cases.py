"""Pictures that are hard to divide into superpixels are explained in every mode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from pintag.data import images
from pintag.data.labels import Labels
from pintag.explain.explanation import ExplainConfig, explain
from pintag.explain.perturbation import Array
from pintag.explain.request import Algorithm, ExplanationRequest, Mode
from pintag.explain.schema import Model
from tests.cases import offline_cases

__all__ = ["offline_cases"]

NAMES = (
    "L01_one_colour", "L01_black", "L01_noise", "L01_two_halves", "L01_gradient", "L01_stripes",
    "L01_tiny_3x3", "L01_grey_alpha", "L02_scene",
)  # fmt: skip


def predict(batch: Array) -> Array:
    """The more red the left half of an image has, the surer the first label is."""
    red = batch[:, :, : batch.shape[2] // 2 + 1, 0].mean(axis=(1, 2)) / 255
    return np.stack([red, 1 - red], axis=-1)


@pytest.mark.parametrize("algorithm", get_args(Algorithm))
@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_explained(
    offline_cases: Path, name: str, mode: Mode, algorithm: Algorithm
) -> None:
    pixels = images.read(offline_cases / "explain" / f"{name}.png", 96)
    request = ExplanationRequest(
        num_features=1000, num_samples=60, mode=mode, segmentation=algorithm
    )
    config = ExplainConfig.from_request(request)
    first, second = (explain(pixels, predict, config=config) for _ in range(2))
    answer = first.to_answer(Labels(("left", "right")), Model(name="model", version="1"))
    # JSON has neither NaN nor infinity.
    json.dumps(answer.model_dump(mode="json"), allow_nan=False)
    assert answer.weights
    assert np.array_equal(first.weights, second.weights)
    assert first.overlay().shape == pixels.shape
