"""Designs: how evenly segments are hidden, alone and together."""

from __future__ import annotations

from itertools import combinations, islice

import numpy as np
import pytest

from pintag.designs import BLOCK, MOST_SEGMENTS, rounds
from pintag.perturbation import Masks

# Rounds of a design.
WHOLE = 8


def made(segments: int, count: int, seed: int = 0) -> list[Masks]:
    return list(islice(rounds(segments, np.random.default_rng(seed)), count))


def balanced(masks: Masks, together: int) -> bool:
    """Whether of any so many segments each combination of kept and hidden is equally frequent."""
    sets = np.array(list(combinations(range(masks.shape[1]), together)))
    codes = sum(masks[:, sets[:, place]].astype(int) << place for place in range(together))
    columns = np.arange(len(sets)) << together
    counts = np.bincount((codes + columns).ravel(), minlength=len(sets) << together)
    return bool((counts == len(masks) >> together).all())


@pytest.mark.parametrize("segments", [1, 2, 17, 33, MOST_SEGMENTS])
def test_a_round_is_of_masks_that_keep_each_segment_half_of_the_time(segments: int) -> None:
    for masks in made(segments, WHOLE + 1):
        assert masks.shape == (BLOCK, segments)
        assert masks.dtype == np.bool_
        np.testing.assert_array_equal(masks.sum(axis=0), np.full(segments, BLOCK // 2))


@pytest.mark.parametrize("segments", [3, 8, 17, 25, 32])
def test_in_a_round_any_three_segments_meet_equally_often(segments: int) -> None:
    assert all(balanced(masks, 3) for masks in made(segments, 3))


def test_beyond_thirty_two_segments_a_round_alone_cannot_do_that() -> None:
    assert not balanced(made(33, 1)[0], 3)


@pytest.mark.parametrize("together", [4, 5])
@pytest.mark.parametrize("segments", [5, 9, 10, 14, 17])
def test_in_a_design_any_five_segments_meet_equally_often(segments: int, together: int) -> None:
    for seed in range(2):
        assert balanced(np.vstack(made(segments, WHOLE, seed)), together)


@pytest.mark.parametrize("segments", [33, 64, 120])
def test_in_a_design_any_three_of_many_segments_meet_equally_often(segments: int) -> None:
    masks = np.vstack(made(segments, WHOLE))[:, ::3]
    assert balanced(masks, 3)


@pytest.mark.parametrize("segments", [*range(1, 14), 17, 40])
def test_no_mask_comes_twice_while_there_are_others(segments: int) -> None:
    """A mask seen twice is a prediction wasted, and passes for certainty."""
    first, *rest = made(segments, WHOLE)
    assert len(np.unique(first, axis=0)) == min(BLOCK, 2**segments)
    design = np.vstack([first, *rest])
    assert len(np.unique(design, axis=0)) == min(len(design), 2**segments)


@pytest.mark.parametrize("segments", [1, 6, 32, 200])
def test_each_mask_is_followed_by_its_complement(segments: int) -> None:
    for masks in made(segments, WHOLE + 1):
        np.testing.assert_array_equal(masks[::2], ~masks[1::2])


def test_a_round_cut_short_tells_most_segments_apart_too() -> None:
    """A batch of 32 after the whole image; whoever is stopped has no more than that."""
    known = []
    for seed in range(40):
        masks = made(8, 1, seed)[0][:31]
        assert not masks.all(axis=0).any()
        assert masks.any(axis=0).all()
        signs = np.hstack([np.ones((31, 1)), 2.0 * masks - 1])
        known.append(np.linalg.matrix_rank(signs) == 9)
    assert np.mean(known) > 0.9


def test_a_design_is_followed_by_another() -> None:
    masks = made(20, 2 * WHOLE)
    first, second = ({row.tobytes() for row in np.vstack(half)} for half in np.split(
        np.array(masks), 2
    ))  # fmt: skip
    assert len(first) == len(second) == 512
    assert len(first & second) < 100


def test_a_seed_repeats_and_another_differs() -> None:
    one, same, other = (made(20, 2, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_no_segment_has_a_place_of_its_own() -> None:
    """Over seeds every two segments are treated alike: none is mistaken for others more often."""
    agree = np.zeros((40, 40))
    for seed in range(100):
        signs = 2.0 * made(40, 1, seed)[0] - 1
        agree += np.abs(signs.T @ signs) == BLOCK
    np.fill_diagonal(agree, 0)
    # Eight of the thirty-two columns are given to two segments each.
    assert agree.sum() == 100 * 16
    assert agree.sum(axis=0).max() < 60


def test_no_mask_is_in_every_design() -> None:
    """Not even that of everything and that of nothing."""
    for seed in range(20):
        kept = np.vstack(made(40, WHOLE, seed)).sum(axis=1)
        assert (kept > 0).all()
        assert (kept < 40).all()


def test_too_many_segments_are_refused() -> None:
    with pytest.raises(ValueError, match=f"257 segments; a design has at most {MOST_SEGMENTS}"):
        made(MOST_SEGMENTS + 1, 1)
