"""SP-LIME: the few explanations that together show most of what a model goes by.

Ribeiro, Singh & Guestrin, "Why Should I Trust You?" (KDD 2016), section 4. Row i of the matrix W
holds the weights of explanation i over global features; the importance of feature j is
I_j = sqrt(sum_i |W_ij|); a set of explanations covers the importance of every feature that one of
them has. Coverage is submodular, so that greedy choice covers at least 1 - 1/e of what the best
set of its size does (Nemhauser, Wolsey & Fisher, 1978).

The paper leaves open what a global feature of images is: segment 7 of one has nothing to do with
segment 7 of another. Here it is a label together with a visual word (`pintag.vocabulary`), a kind
of segment that speaks for this label in many images. Of each image count the top segments that
speak for its label, and their weights add up to one, so that no image matters more for larger
log-odds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from pintag import vocabulary
from pintag.explain import Explanation
from pintag.perturbation import background
from pintag.sampling import Predict
from pintag.surrogate import Floats


class Member(NamedTuple):
    """A segment that speaks for its image's label."""

    explanation: int
    segment: int
    weight: float
    """Its part of all that the image's top segments say for the label."""


@dataclass(frozen=True)
class Feature:
    """A global feature: segments of many images that look alike and speak for one label."""

    label: int
    members: list[Member]
    """The most typical ones first."""

    @cached_property
    def importance(self) -> float:
        """The square root of its weights in all images, added up."""
        return float(np.sqrt(sum(member.weight for member in self.members)))

    @property
    def images(self) -> int:
        """In how many explanations it is."""
        return len({member.explanation for member in self.members})


@dataclass(frozen=True)
class Cover:
    """A greedy choice of rows of W."""

    importance: Floats
    """`float64[D]`: of each feature."""
    indices: list[int]
    """In the order of choice."""
    coverage: list[float]
    """After each, the importance of all features that the rows so far have."""
    brings: list[list[int]]
    """Of each, the features that none before it has, most important first."""


@dataclass(frozen=True)
class Pick(Cover):
    """The explanations to look at, and the features that are the columns of W."""

    features: list[Feature]
    """Label by label, the most important ones first."""
    weights: Floats
    """W: `float64[N,D]`."""


def pick(explanations: Sequence[Explanation], count: int, predict: Predict) -> Pick:
    """Choose `count` explanations, or put all of them in order when there are no more.

    They may be of several labels, one explanation an image; of two that add as much the first is
    chosen.

    Args:
        predict: the function that was explained. It is asked about single segments, at most
            `num_features` at once.
    """
    labels = sorted({found.finding.label for found in explanations})
    features = [feature for label in labels for feature in _features(explanations, label, predict)]
    weights = np.zeros((len(explanations), len(features)))
    for column, feature in enumerate(features):
        for member in feature.members:
            weights[member.explanation, column] += member.weight
    return Pick(**vars(cover(weights, count)), features=features, weights=weights)


def cover(weights: Floats, count: int) -> Cover:
    """Choose up to `count` rows of W `float64[N,D]`, each the one that adds the most coverage."""
    importance: Floats = np.sqrt(np.abs(weights).sum(axis=0))
    present = weights != 0
    missing, left = importance.copy(), np.ones(len(weights), bool)
    chosen = Cover(importance, [], [], [])
    for _ in range(min(count, len(weights))):
        best = int(np.where(left, present @ missing, -1).argmax())
        new = np.flatnonzero(present[best] & (missing > 0))
        left[best], missing[new] = False, 0
        chosen.indices.append(best)
        chosen.coverage.append(float(importance[missing == 0].sum()))
        chosen.brings.append([int(j) for j in new[np.argsort(-importance[new], kind="stable")]])
    return chosen


def _features(explanations: Sequence[Explanation], label: int, predict: Predict) -> list[Feature]:
    """The features of one label."""
    members: list[Member] = []
    looks: list[Floats] = []
    answers: list[Floats] = []
    for index, found in enumerate(explanations):
        speaking = [segment for segment in found.top() if found.weights[segment] > 0]
        if found.finding.label == label and speaking:
            parts = found.weights[speaking] / found.weights[speaking].sum()
            members += map(Member, [index] * len(speaking), speaking, map(float, parts))
            hidden = background(found.image, found.segments, found.config.hide)
            looks.append(vocabulary.looks(found.image, found.segments)[speaking])
            answers.append(
                vocabulary.answers(found.image, hidden, found.segments, speaking, predict)
            )
    if not members:
        return []
    words = vocabulary.words(np.concatenate(looks), np.concatenate(answers))
    features = [Feature(label, [members[row] for row in word]) for word in words]
    return sorted(features, key=lambda feature: -feature.importance)
