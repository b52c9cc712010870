"""The explanation of one label: a linear surrogate of the model around one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np

from pintag.core.types import Confidences, Floats

StopReason = Literal["separated", "budget", "deadline"]
Scale = Literal["probability", "log-odds"]


@dataclass(frozen=True)
class Surrogate:
    """A linear model of one label: a weight for each segment that is kept."""

    weights: Floats
    """`float64[K]`; zero for segments that were not selected."""
    intercept: float
    score: float
    """R² on the samples of the fit, with their weights."""
    prediction: float
    """Its confidence for the whole image. In reference mode it may be outside 0 to 1."""
    scale: Scale
    """The unit of the weights and the intercept."""
    intervals: Floats | None = None
    """`float64[K,2]`: confidence intervals of the weights; infinite with too few samples."""


@dataclass(frozen=True)
class LabelExplanation:
    """The surrogate of one label, and how reliable it is."""

    label: int
    confidence: float
    """The model's confidence for the whole image."""
    surrogate: Surrogate
    outcome: StopReason
    """`separated`: the requested superpixels rank above the rest; `budget`: all samples were used;
    `deadline`: `stop` ended the sampling early."""
    claimed: int | None = None
    """Stable mode: how many of the first superpixels rank above all that follow."""


def rank(weights: Floats, positive_only: bool) -> list[int]:
    """All segments, most important first: by weight, or by its magnitude."""
    heights = weights if positive_only else np.abs(weights)
    return [int(segment) for segment in np.argsort(-heights, kind="stable")]


def top(weights: Floats, count: int, positive_only: bool) -> list[int]:
    """The first `count` segments of `rank`, without zero and (`positive_only`) negative weights."""
    least = 0.0 if positive_only else -np.inf
    ranked = rank(weights, positive_only)
    return [segment for segment in ranked if weights[segment] and weights[segment] > least][:count]


def choose(labels: Sequence[int] | int, confidences: Confidences) -> list[int]:
    """The labels to explain: those given, or the given number of the most confident in `float[C]`.

    Raises:
        ValueError: a label does not exist, or no label is requested.
    """
    if isinstance(labels, Integral):
        chosen = np.argsort(confidences)[::-1][: max(int(labels), 0)]
    else:
        chosen = np.asarray(labels, np.intp)
    if not len(chosen):
        raise ValueError(f"labels {labels}: at least one label is needed")
    if not all(0 <= label < len(confidences) for label in chosen):
        raise ValueError(
            f"labels {chosen.tolist()}: the model has the labels 0 to {len(confidences) - 1}"
        )
    return [int(label) for label in chosen]
