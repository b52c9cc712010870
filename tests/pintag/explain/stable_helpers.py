"""Helpers for the tests of the stable mode: models with known weights, and shortcuts."""

from __future__ import annotations

from typing import Any

import numpy as np

from pintag.explain import stable
from pintag.explain.perturbation import Perturber
from pintag.explain.sampling import Predict, Sampler, Stop
from pintag.explain.stable import Goal, WeightEstimate
from pintag.explain.surrogate import LabelExplanation, Surrogate
from tests.pintag.conftest import (
    Floats,
    LogOdds,
    every_mask,
    row,
    table,
)

WEIGHTS = (0.3, -2.0, 1.4, 0.0, 0.8, -0.6)


def find(
    predict: Predict,
    segments: int,
    *,
    labels: list[int] | int = 1,
    seed: int = 0,
    budget: int = 500,
    num_features: int = 3,
    level: float = 0.95,
    positive_only: bool = False,
    batch_size: int = 64,
    stop: Stop | None = None,
) -> tuple[list[LabelExplanation], int]:
    """Explain a `row` of segments: the result of each label, and the number of samples."""
    image, numbers = row(segments)
    perturber = Perturber(image, np.zeros_like(image), numbers, batch_size)
    sampler = Sampler(perturber, predict, batch_size, stop, labels)
    goal = Goal(num_features, level, positive_only)
    random = np.random.default_rng(seed)
    results = stable.find(sampler, random, budget=budget, goal=goal)
    return results, sampler.count


def only(predict: Predict, segments: int, **options: Any) -> LabelExplanation:
    (result,), _ = find(predict, segments, **options)
    return result


def intervals(result: LabelExplanation) -> Floats:
    values = result.surrogate.intervals
    assert values is not None
    assert values.shape == (len(result.surrogate.weights), 2)
    return values


def rough(segments: int, seed: int = 0, noise: float = 0.7) -> LogOdds:
    """Log-odds with main effects, interactions of pairs, and noise for every larger set."""
    rng = np.random.default_rng(seed)
    masks = every_mask(segments).astype(float)
    pairs = np.triu(rng.normal(scale=2 / segments, size=(segments, segments)), 1)
    alone = masks @ rng.normal(size=segments)
    together = np.einsum("sk,kl,sl->s", masks, pairs, masks)
    return table(alone + together + rng.normal(scale=noise, size=2**segments))


def estimate(weights: Any, errors: Any, freedom: int = 100) -> WeightEstimate:
    surrogate = Surrogate(np.array(weights, float), 0.0, 1.0, 0.5, "log-odds")
    return WeightEstimate(surrogate, np.broadcast_to(errors, len(weights)).astype(float), freedom)


def claimed(
    estimated: WeightEstimate, count: int, level: float = 0.95, positive_only: bool = False
) -> int:
    return estimated.claimed(Goal(count, level, positive_only))


# The largest log-odds: those of a confidence of one, after clipping.
SUREST = np.log(0.997 / 0.003)
