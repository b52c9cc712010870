"""The reference mode: plain LIME. The library lime itself fits the regression.

Ribeiro, Singh & Guestrin, "Why Should I Trust You?" (KDD 2016), as implemented in `lime` 0.2.0.1:
each segment is kept with probability one half, samples are weighted by an exponential kernel over
their cosine distance from the whole image, segments are selected, and a ridge regression is fitted.
"""

from __future__ import annotations

import numpy as np
from lime.lime_base import LimeBase

from pintag.core.types import Confidences, Floats
from pintag.explain.perturbation import Masks
from pintag.explain.sampling import Sampler
from pintag.explain.surrogate import LabelExplanation, Surrogate

KERNEL_WIDTH = 0.25


def find(
    sampler: Sampler, random: np.random.RandomState, *, budget: int, max_features: int
) -> list[LabelExplanation]:
    """Explain the sampler's labels with `budget` samples.

    Args:
        max_features: maximum number of segments in the regression. lime selects up to six by
            forward selection, and more by their weights in a first fit.
    """
    # The same draw as in lime, so that equal seeds give equal results.
    drawn = random.randint(0, 2, budget * sampler.segments)
    masks = drawn.reshape(budget, sampler.segments).astype(bool)
    masks[0] = True
    confidences = sampler.predict(masks)
    masks = masks[: len(confidences)]
    return [
        LabelExplanation(
            label=label,
            confidence=float(confidences[0, label]),
            surrogate=_fit(masks, confidences, label, max_features, random),
            outcome="deadline" if sampler.stopped else "budget",
        )
        for label in sampler.labels
    ]


def _fit(
    masks: Masks,
    confidences: Confidences,
    label: int,
    max_features: int,
    random: np.random.RandomState,
) -> Surrogate:
    base = LimeBase(_kernel, random_state=random)
    intercept, pairs, score, prediction = base.explain_instance_with_data(
        masks.astype(np.int64), confidences, _distances(masks), label, max_features
    )
    weights = np.zeros(masks.shape[1])
    for segment, weight in pairs:
        weights[segment] = weight
    return Surrogate(weights, float(intercept), float(score), float(prediction[0]), "probability")


def _kernel(distances: Floats) -> Floats:
    weights: Floats = np.sqrt(np.exp(-(distances**2) / KERNEL_WIDTH**2))
    return weights


def _distances(masks: Masks) -> Floats:
    """The cosine distance of each row from a row of ones, the whole image: 1 - sqrt(kept / K)."""
    distances: Floats = 1 - np.sqrt(masks.mean(axis=1))
    return distances
