"""Surrogates: the order of segments, and which labels are explained."""

from __future__ import annotations

import numpy as np
import pytest

from pintag.explain.surrogate import choose, rank, top

WEIGHTS = np.array([0.1, -3.0, 2.0, 0.0, -0.5, 2.5])
CONFIDENCES = np.array([0.1, 0.4, 0.2, 0.3], np.float32)


def test_segments_are_ranked_by_weight_or_by_its_magnitude() -> None:
    assert rank(WEIGHTS, positive_only=True) == [5, 2, 0, 3, 4, 1]
    assert rank(WEIGHTS, positive_only=False) == [1, 5, 2, 4, 0, 3]


def test_ties_stay_in_the_order_of_the_segments() -> None:
    many = np.tile([1.0, 2.0], 150)
    assert rank(many, positive_only=False) == [*range(1, 300, 2), *range(0, 300, 2)]
    ties = np.array([1.0, -1.0, 2.0, 1.0])
    assert rank(ties, positive_only=False) == [2, 0, 1, 3]
    assert rank(ties, positive_only=True) == [2, 0, 3, 1]


def test_top_leaves_out_segments_of_weight_zero() -> None:
    assert top(WEIGHTS, 2, positive_only=False) == [1, 5]
    assert top(WEIGHTS, 10, positive_only=False) == [1, 5, 2, 4, 0]
    assert top(np.zeros(4), 3, positive_only=False) == []


def test_top_with_positive_only_leaves_out_evidence_against_the_label() -> None:
    assert top(WEIGHTS, 2, positive_only=True) == [5, 2]
    assert top(WEIGHTS, 10, positive_only=True) == [5, 2, 0]
    assert top(-np.abs(WEIGHTS), 3, positive_only=True) == []


def test_segments_are_plain_numbers() -> None:
    assert {type(segment) for segment in rank(WEIGHTS, False)} == {int}


def test_a_number_of_labels_chooses_the_most_confident_ones() -> None:
    assert choose(1, CONFIDENCES) == [1]
    assert choose(3, CONFIDENCES) == [1, 3, 2]
    assert choose(9, CONFIDENCES) == [1, 3, 2, 0]


def test_labels_by_index_stay_in_their_order() -> None:
    assert choose([2, 0], CONFIDENCES) == [2, 0]
    assert choose(range(4), CONFIDENCES) == [0, 1, 2, 3]


def test_labels_may_be_numpy_integers() -> None:
    assert choose(CONFIDENCES.argsort(), CONFIDENCES) == [0, 2, 3, 1]  # type: ignore[arg-type]
    assert choose(np.int64(2), CONFIDENCES) == [1, 3]  # type: ignore[arg-type]


@pytest.mark.parametrize("label", [4, -1])
def test_the_error_for_an_unknown_label_names_the_valid_ones(label: int) -> None:
    message = rf"labels \[0, {label}\]: the model has the labels 0 to 3"
    with pytest.raises(ValueError, match=message):
        choose([0, label], CONFIDENCES)


@pytest.mark.parametrize("labels", [0, -1, []], ids=str)
def test_an_empty_choice_of_labels_is_refused(labels: list[int] | int) -> None:
    with pytest.raises(ValueError, match="at least one label is needed"):
        choose(labels, CONFIDENCES)
