"""Pictures that are hard to divide into superpixels are explained in every mode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from pintag.core.types import Array
from pintag.data.labels import Labels
from pintag.explain.explanation import ExplainConfig, explain
from pintag.explain.request import Algorithm, ExplanationRequest, Mode
from pintag.explain.schema import Model
from pintag.images import decoding
from tests.cases import cases_dir, manifest

__all__ = ["cases_dir"]


def predict(batch: Array) -> Array:
    """The more red the left half of an image has, the surer the first label is."""
    red = batch[:, :, : batch.shape[2] // 2 + 1, 0].mean(axis=(1, 2)) / 255
    return np.stack([red, 1 - red], axis=-1)


@pytest.mark.parametrize("algorithm", get_args(Algorithm))
@pytest.mark.parametrize("mode", get_args(Mode))
def test_each_picture_is_explained(cases_dir: Path, mode: Mode, algorithm: Algorithm) -> None:
    request = ExplanationRequest(
        num_features=1000, num_samples=60, mode=mode, segmentation=algorithm
    )
    config = ExplainConfig.from_request(request)
    other_batches = config.model_copy(update={"batch_size": 7})
    for case in manifest(cases_dir, "explain"):
        pixels = decoding.read(case.file, 96)
        first = explain(pixels, predict, config=config)
        second = explain(pixels, predict, config=other_batches)
        answer = first.to_answer(Labels(("left", "right")), Model(name="model", version="1"))
        # JSON has neither NaN nor infinity.
        json.dumps(answer.model_dump(mode="json"), allow_nan=False)
        assert answer.weights, case
        assert np.array_equal(first.weights, second.weights), case
        assert first.overlay().shape == pixels.shape
