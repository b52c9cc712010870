"""Badges: rank and weight on each superpixel, visible and without covering each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pintag.core.types import Pixels
from pintag.explain import badges
from pintag.explain.schema import WeightItem
from pintag.explain.style import AGAINST, FOR, HALO

GREY = np.full((480, 640, 3), 120, np.uint8)


def item(segment: int, weight: float, low: float | None = None) -> WeightItem:
    return WeightItem(segment=segment, weight=weight, low=low, high=None if low is None else 9.0)


def columns(count: int) -> np.ndarray:
    """Segments side by side."""
    widths = np.arange(64) * count // 64
    return np.tile(widths, (48, 1)).astype(np.int32)


def changed(drawn: Pixels) -> np.ndarray:
    return (drawn != GREY).any(axis=-1)


def test_a_badge_has_the_rank_and_the_weight() -> None:
    assert badges.text(1, 1.923, "log-odds") == "1: +1.92"
    assert badges.text(3, -0.0834, "probability") == "3: \u22120.083"


def test_each_badge_is_in_its_superpixel() -> None:
    drawn = badges.draw(GREY, columns(4), [item(1, 2.0), item(3, -1.0)], "log-odds")
    assert drawn.shape == GREY.shape
    assert (GREY == 120).all()
    parts = [changed(drawn)[:, 160 * k : 160 * (k + 1)].any() for k in range(4)]
    assert parts == [False, True, False, True]
    assert (drawn[:, 160:320] == FOR).all(axis=-1).any()
    assert (drawn[:, 480:] == AGAINST).all(axis=-1).any()


def test_a_badge_is_white_if_the_weight_may_be_for_or_against() -> None:
    drawn = badges.draw(GREY, columns(1), [item(0, 2.0, low=-1.0)], "log-odds")
    white = (drawn == HALO).all(axis=-1).sum()
    assert white > changed(drawn).sum() / 2


def test_badges_of_thin_superpixels_do_not_cover_each_other() -> None:
    """Twelve superpixels, each narrower than a badge."""
    chosen = [item(segment, 1.0) for segment in range(12)]
    alone = [changed(badges.draw(GREY, columns(12), [each], "log-odds")).sum() for each in chosen]
    together = changed(badges.draw(GREY, columns(12), chosen, "log-odds")).sum()
    # The text of later ranks is a little wider.
    assert together >= sum(alone)


def test_only_the_first_superpixels_have_badges() -> None:
    chosen = [item(segment, 1.0) for segment in range(30)]
    first = badges.draw(GREY, columns(30), chosen[: badges.MAX_BADGES], "log-odds")
    np.testing.assert_array_equal(badges.draw(GREY, columns(30), chosen, "log-odds"), first)


@pytest.mark.parametrize(("height", "width"), [*itertools.product((1, 20, 480), (1, 20, 239))])
def test_a_badge_is_within_the_picture_or_left_out(height: int, width: int) -> None:
    picture = np.full((height, width, 3), 120, np.uint8)
    drawn = badges.draw(picture, columns(2), [item(0, 1.0)], "log-odds")
    assert drawn.shape == picture.shape
    has_room = height == 480 and width == 239
    assert (drawn != picture).any() == has_room


def test_a_superpixel_that_is_not_in_the_map_does_not_fail() -> None:
    drawn = badges.draw(GREY, columns(2), [item(7, 1.0)], "log-odds")
    assert changed(drawn).any()
