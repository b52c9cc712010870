"""An image of six tiles and a model of known weights, for the tests of explanations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit

from pintag.core.types import Array
from pintag.data.labels import Labels
from pintag.explain.explanation import ExplainConfig, Explanation
from pintag.explain.perturbation import Masks
from pintag.explain.superpixels import Felzenszwalb
from pintag.models.identity import Model

# The weight of each tile for the first label. The second label has the opposite weights, the third
# has zeros.
WEIGHTS = np.array([0.5, -3.0, 2.0, 0.0, 1.0, -0.25])
LABELS = Labels(("houses", "plants", "roads"))
MODEL = Model(name="tiles", version="1")
MODES = pytest.mark.parametrize("mode", ["reference", "stable"])
# With these settings, each flat tile is one segment.
TILES = Felzenszwalb(scale=1, sigma=0, min_size=1)


def shown(images: Array) -> Masks:
    """`bool[N,6]`: which tiles are not black, row by row."""
    return images[:, 4::8, 4::8].any(axis=-1).reshape(len(images), -1)


def predict(images: Array) -> Any:
    log_odds = shown(images) @ np.stack([WEIGHTS, -WEIGHTS, 0 * WEIGHTS], axis=-1)
    return expit(log_odds).astype(np.float32)


def settings(**changes: Any) -> ExplainConfig:
    return ExplainConfig(**{"segmentation": TILES, "num_samples": 200} | changes)


def by_tile(explained: Explanation) -> npt.NDArray[np.float64]:
    """The weights in the order of the tiles, not of the segments' numbers."""
    return explained.weights[explained.segments[4::8, 4::8].ravel()]


def one_label(images: Array) -> Any:
    return images.reshape(len(images), -1).mean(axis=1, keepdims=True) / 100
