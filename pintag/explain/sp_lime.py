"""SP-LIME: the few explanations that together show most of a model's evidence.

Ribeiro, Singh & Guestrin, "Why Should I Trust You?" (KDD 2016), section 4. Row i of the matrix W
holds the weights of explanation i over global features; the importance of feature j is
I_j = sqrt(sum_i |W_ij|). A set of explanations covers the features that at least one of them has.
Coverage is submodular, so a greedy choice covers at least 1 - 1/e of what the best set of its size
covers (Nemhauser, Wolsey & Fisher, 1978).

The paper does not define global features of images: segment 7 of one image is unrelated to segment
7 of another. Here a feature is a label with a visual word (see `pintag.explain.visual_words`), a
kind of segment that is evidence for this label in many images. Only the top segments of each image
that are evidence for its label count. Their weights are normalised to a sum of one, so that larger
log-odds do not make an image more important.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from pintag.core.types import Floats
from pintag.explain import visual_words
from pintag.explain.explanation import Explanation
from pintag.explain.perturbation import background
from pintag.explain.sampling import Predict


class Member(NamedTuple):
    """A segment that is evidence for the label of its image."""

    explanation: int
    segment: int
    weight: float
    """Its share of the evidence of the image's top segments, 0 to 1."""


@dataclass(frozen=True)
class Feature:
    """A global feature: segments of many images that look alike and are evidence for one label."""

    label: int
    members: list[Member]
    """The most typical segments first."""

    @cached_property
    def importance(self) -> float:
        """The square root of the sum of its weights in all images."""
        return float(np.sqrt(sum(member.weight for member in self.members)))

    @property
    def images(self) -> int:
        """The number of explanations that have it."""
        return len({member.explanation for member in self.members})


@dataclass(frozen=True)
class Cover:
    """A greedy choice of rows of W."""

    importance: Floats
    """`float64[D]`: the importance of each feature."""
    indices: list[int]
    """The chosen rows, in the order of choice."""
    coverage: list[float]
    """After each choice, the total importance of all covered features."""
    brings: list[list[int]]
    """For each choice, the features that no earlier choice has, most important first."""


@dataclass(frozen=True)
class Pick(Cover):
    """The chosen explanations, and the features that are the columns of W."""

    features: list[Feature]
    """Sorted by label, then by importance, most important first."""
    weights: Floats
    """W: `float64[N,D]`."""


def pick(explanations: Sequence[Explanation], count: int, predict: Predict) -> Pick:
    """Choose `count` explanations, or all of them if there are fewer, in the order of choice.

    Args:
        explanations: one for each image, of any labels. If two add equally much, the first one is
            chosen.
        predict: the function that was explained. It is called with images of single segments, at
            most `num_features` at once.
    """
    labels = sorted({explanation.result.label for explanation in explanations})
    features = [feature for label in labels for feature in _features(explanations, label, predict)]
    weights = np.zeros((len(explanations), len(features)))
    for column, feature in enumerate(features):
        for member in feature.members:
            weights[member.explanation, column] += member.weight
    return Pick(**vars(cover(weights, count)), features=features, weights=weights)


def cover(weights: Floats, count: int) -> Cover:
    """Choose up to `count` rows of W `float64[N,D]` greedily, by the coverage they add."""
    importance: Floats = np.sqrt(np.abs(weights).sum(axis=0))
    present = weights != 0
    missing, available = importance.copy(), np.ones(len(weights), bool)
    chosen = Cover(importance, [], [], [])
    for _ in range(min(count, len(weights))):
        best = int(np.where(available, present @ missing, -1).argmax())
        new = np.flatnonzero(present[best] & (missing > 0))
        available[best], missing[new] = False, 0
        chosen.indices.append(best)
        chosen.coverage.append(float(importance[missing == 0].sum()))
        chosen.brings.append([int(j) for j in new[np.argsort(-importance[new], kind="stable")]])
    return chosen


def _features(explanations: Sequence[Explanation], label: int, predict: Predict) -> list[Feature]:
    """The features of one label."""
    members: list[Member] = []
    looks: list[Floats] = []
    answers: list[Floats] = []
    for index, explanation in enumerate(explanations):
        image, segments, weights = explanation.image, explanation.segments, explanation.weights
        chosen = [segment for segment in explanation.top() if weights[segment] > 0]
        if explanation.result.label == label and chosen:
            shares = weights[chosen] / weights[chosen].sum()
            members += map(Member, [index] * len(chosen), chosen, map(float, shares))
            hidden = background(image, segments, explanation.config.hide)
            looks.append(visual_words.looks(image, segments)[chosen])
            answers.append(visual_words.answers(image, hidden, segments, chosen, predict))
    if not members:
        return []
    words = visual_words.words(np.concatenate(looks), np.concatenate(answers))
    features = [Feature(label, [members[row] for row in word]) for word in words]
    return sorted(features, key=lambda feature: -feature.importance)
