"""Designs: how evenly segments are hidden, alone and together."""

from __future__ import annotations

from itertools import combinations, islice

import numpy as np
import pytest

from pintag.explain.mask_designs import BLOCK, MOST_SEGMENTS, rounds
from pintag.explain.perturbation import Masks

# The number of rounds of a design.
WHOLE = 8


def first_rounds(segments: int, count: int, seed: int = 0) -> list[Masks]:
    return list(islice(rounds(segments, np.random.default_rng(seed)), count))


def balanced(masks: Masks, together: int) -> bool:
    """Whether any `together` segments have each combination of kept and hidden equally often."""
    sets = np.array(list(combinations(range(masks.shape[1]), together)))
    codes = sum(masks[:, sets[:, bit]].astype(int) << bit for bit in range(together))
    columns = np.arange(len(sets)) << together
    counts = np.bincount((codes + columns).ravel(), minlength=len(sets) << together)
    return bool((counts == len(masks) >> together).all())


@pytest.mark.parametrize("segments", [1, 2, 17, 33, MOST_SEGMENTS])
def test_a_round_keeps_each_segment_in_half_of_its_masks(segments: int) -> None:
    for masks in first_rounds(segments, WHOLE + 1):
        assert masks.shape == (BLOCK, segments)
        assert masks.dtype == np.bool_
        np.testing.assert_array_equal(masks.sum(axis=0), np.full(segments, BLOCK // 2))


@pytest.mark.parametrize("segments", [3, 8, 17, 25, 32])
def test_a_round_is_balanced_for_any_three_segments(segments: int) -> None:
    assert all(balanced(masks, 3) for masks in first_rounds(segments, 3))


def test_a_round_of_more_than_32_segments_is_not_balanced_for_three() -> None:
    assert not balanced(first_rounds(33, 1)[0], 3)


@pytest.mark.parametrize("together", [4, 5])
@pytest.mark.parametrize("segments", [5, 9, 10, 14, 17])
def test_a_design_is_balanced_for_any_five_segments(segments: int, together: int) -> None:
    for seed in range(2):
        assert balanced(np.vstack(first_rounds(segments, WHOLE, seed)), together)


@pytest.mark.parametrize("segments", [33, 64, 120])
def test_a_design_of_many_segments_is_balanced_for_any_three(segments: int) -> None:
    masks = np.vstack(first_rounds(segments, WHOLE))[:, ::3]
    assert balanced(masks, 3)


@pytest.mark.parametrize("segments", [*range(1, 14), 17, 40])
def test_no_mask_is_repeated_before_all_masks_are_used(segments: int) -> None:
    """A repeated mask wastes a prediction and makes intervals too narrow."""
    first, *rest = first_rounds(segments, WHOLE)
    assert len(np.unique(first, axis=0)) == min(BLOCK, 2**segments)
    design = np.vstack([first, *rest])
    assert len(np.unique(design, axis=0)) == min(len(design), 2**segments)


@pytest.mark.parametrize("segments", [1, 6, 32, 200])
def test_each_mask_is_followed_by_its_complement(segments: int) -> None:
    for masks in first_rounds(segments, WHOLE + 1):
        np.testing.assert_array_equal(masks[::2], ~masks[1::2])


def test_half_a_round_separates_the_segments_in_most_cases() -> None:
    """Sampling may stop after the first batch of 32, which starts with the whole image."""
    separated = []
    for seed in range(40):
        masks = first_rounds(8, 1, seed)[0][:31]
        assert not masks.all(axis=0).any()
        assert masks.any(axis=0).all()
        signs = np.hstack([np.ones((31, 1)), 2.0 * masks - 1])
        separated.append(np.linalg.matrix_rank(signs) == 9)
    assert np.mean(separated) > 0.9


def test_a_design_is_followed_by_a_different_one() -> None:
    masks = first_rounds(20, 2 * WHOLE)
    first, second = ({row.tobytes() for row in np.vstack(half)} for half in np.split(
        np.array(masks), 2
    ))  # fmt: skip
    assert len(first) == len(second) == 512
    assert len(first & second) < 100


def test_equal_seeds_give_equal_designs_and_other_seeds_do_not() -> None:
    one, same, other = (first_rounds(20, 2, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_over_many_seeds_all_segments_are_treated_alike() -> None:
    """No segment is confounded with another one much more often than others are."""
    agree = np.zeros((40, 40))
    for seed in range(100):
        signs = 2.0 * first_rounds(40, 1, seed)[0] - 1
        agree += np.abs(signs.T @ signs) == BLOCK
    np.fill_diagonal(agree, 0)
    # Eight of the 32 columns are each assigned to two segments.
    assert agree.sum() == 100 * 16
    assert agree.sum(axis=0).max() < 60


def test_a_design_does_not_always_have_the_full_and_the_empty_mask() -> None:
    for seed in range(20):
        kept = np.vstack(first_rounds(40, WHOLE, seed)).sum(axis=1)
        assert (kept > 0).all()
        assert (kept < 40).all()


def test_too_many_segments_are_refused() -> None:
    with pytest.raises(
        ValueError, match=f"257 segments: a design supports at most {MOST_SEGMENTS}"
    ):
        first_rounds(MOST_SEGMENTS + 1, 1)
