"""What is found out about one label: a linear surrogate of the model around one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np
import numpy.typing as npt

from pintag.engine import Confidences

Floats = npt.NDArray[np.float64]
Outcome = Literal["separated", "budget", "deadline"]


@dataclass(frozen=True)
class Surrogate:
    """A linear model of one label over the segments that are kept."""

    weights: Floats
    """`float64[K]`; zero where a segment was not selected."""
    intercept: float
    score: float
    """R² on the samples it was fitted to, weighted as they were."""
    prediction: float
    """The confidence it gives the whole image; lime's can leave the range of zero to one."""
    scale: Literal["probability", "log-odds"]
    """The unit of weights and intercept."""
    intervals: Floats | None = None
    """`float64[K,2]`: confidence intervals of the weights, infinite while nothing is known."""


@dataclass(frozen=True)
class Finding:
    """One label's surrogate, and how far to trust it."""

    label: int
    confidence: float
    """The model's own, of the whole image."""
    surrogate: Surrogate
    outcome: Outcome
    """`separated`: the superpixels asked for are told apart from the rest; `budget`: every sample
    was used; `deadline`: sampling was stopped before."""
    claimed: int | None = None
    """Stable mode: so many of the first superpixels are told apart from those after them."""


def rank(weights: Floats, positive_only: bool) -> list[int]:
    """Segments, most important first: by weight, or by its magnitude."""
    heights = weights if positive_only else np.abs(weights)
    return [int(segment) for segment in np.argsort(-heights, kind="stable")]


def top(weights: Floats, count: int, positive_only: bool) -> list[int]:
    """The first `count` segments of `rank`; none of weight zero, nor with `positive_only` below."""
    least = 0.0 if positive_only else -np.inf
    ranked = rank(weights, positive_only)
    return [segment for segment in ranked if weights[segment] and weights[segment] > least][:count]


def choose(labels: Sequence[int] | int, confidences: Confidences) -> list[int]:
    """The labels to explain: those given, or so many of the most confident ones in `float[C]`.

    Raises:
        ValueError: there is no such label, or none is asked for.
    """
    if isinstance(labels, Integral):
        chosen = np.argsort(confidences)[::-1][: max(int(labels), 0)]
    else:
        chosen = np.asarray(labels, np.intp)
    if not len(chosen):
        raise ValueError(f"labels {labels}: at least one is needed")
    if not all(0 <= label < len(confidences) for label in chosen):
        raise ValueError(f"labels {chosen.tolist()}: there are 0 to {len(confidences) - 1}")
    return [int(label) for label in chosen]
