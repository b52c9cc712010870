"""Views: reproducible for an image, seed and number, and varied enough."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pintag.train.fit import features, views
from pintag.train.fit.epochs import Indices
from pintag.train.fit.views import MIRROR, DrawnViews, StoredViews

SIZE = 48
DIGEST = "5f" * 32
NUMBERS = range(2, 202)


@pytest.fixture(scope="module")
def picture() -> npt.NDArray[np.uint8]:
    """`uint8[48,48,3]`: bright at the left, a blue square at the right, on grey."""
    pixels = np.full((SIZE, SIZE, 3), 90, np.uint8)
    pixels[:, :12] = 200
    pixels[12:36, 30:42] = (20, 40, 220)
    return pixels


@pytest.fixture(scope="module")
def drawn(picture: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    return [views.view(picture, DIGEST, 0, number) for number in NUMBERS]


class InMemory:
    def __init__(self, rows: npt.NDArray[np.generic]) -> None:
        self.rows = rows

    def take(self, indices: Indices) -> npt.NDArray[np.generic]:
        return self.rows[indices]


def test_view_0_is_the_image_and_view_1_its_mirror(
    picture: npt.NDArray[np.uint8],
) -> None:
    np.testing.assert_array_equal(views.view(picture, DIGEST, 0, 0), picture)
    np.testing.assert_array_equal(views.view(picture, DIGEST, 0, MIRROR), picture[:, ::-1])


def test_views_keep_shape_and_type(drawn: list[npt.NDArray[np.uint8]]) -> None:
    assert {(view.shape, view.dtype) for view in drawn} == {((SIZE, SIZE, 3), np.dtype(np.uint8))}


def test_a_view_depends_on_image_seed_and_number(
    picture: npt.NDArray[np.uint8], drawn: list[npt.NDArray[np.uint8]]
) -> None:
    again = views.view(picture, DIGEST, 0, 5)
    np.testing.assert_array_equal(again, drawn[NUMBERS.index(5)])
    for other in ((DIGEST, 1, 5), (DIGEST, 0, 6), ("60" * 32, 0, 5)):
        assert (views.view(picture, *other) != again).any()


def test_all_views_are_different(drawn: list[npt.NDArray[np.uint8]]) -> None:
    assert len({view.tobytes() for view in drawn}) == len(drawn)


def test_about_a_fifth_of_the_views_have_a_frame(drawn: list[npt.NDArray[np.uint8]]) -> None:
    """Three sides of a framed view are of one colour, or nearly."""

    def sides(view: npt.NDArray[np.uint8]) -> int:
        edges = (view[0], view[-1], view[:, 0], view[:, -1])
        return sum(int(np.ptp(edge, axis=0).max() <= 1) for edge in edges)

    # One side of a crop may lie in the bright stripe and have one colour, too.
    share = np.mean([sides(view) >= 3 for view in drawn])
    assert 0.05 < share < 0.35


def test_about_half_of_the_views_are_mirrored(drawn: list[npt.NDArray[np.uint8]]) -> None:
    """The bright stripe is at the left, or at the right of a mirrored view."""
    third = SIZE // 3
    differences = [
        view[:, :third].mean(dtype=float) - view[:, -third:].mean(dtype=float) for view in drawn
    ]
    assert 0.3 < np.mean(np.array(differences) > 0) < 0.7


@pytest.mark.parametrize("size", [32, 33, 224])
def test_images_of_any_size_have_views(size: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    for number in range(2, 30):
        assert views.view(pixels, DIGEST, 3, number).shape == pixels.shape


def test_an_epoch_leaves_half_of_the_images_unchanged() -> None:
    """The value of each of 1,000 rows is the number of its view; 0 and 1 count as unchanged."""
    plain = np.zeros((1000, 1))
    stored = np.tile(np.arange(1, 10)[:, None], (1000, 1, 1)).astype(float)
    views_of_epoch = StoredViews(InMemory(plain), InMemory(stored), count=8, total=1000, seed=0)
    everything = np.arange(1000)
    seen = np.stack([views_of_epoch.take(everything, epoch)[:, 0] for epoch in range(8)])
    assert 0.2 < (seen == 0).mean() < 0.3
    assert 0.2 < (seen == MIRROR).mean() < 0.3
    assert set(seen.ravel()) == set(range(10))
    assert (seen[0] != seen[1]).mean() > 0.5


def test_a_view_does_not_depend_on_the_worker() -> None:
    """Two workers get the same views as one worker with the whole batch."""
    plain = np.arange(40.0)[:, None]
    stored = plain[:, None] + np.arange(1, 4)[:, None] / 10
    views_of_epoch = StoredViews(InMemory(plain), InMemory(stored), count=2, total=40, seed=7)
    batch = np.array([3, 39, 0, 17])
    whole = views_of_epoch.take(batch, 5)
    np.testing.assert_array_equal(whole[1::2], views_of_epoch.take(batch[1::2], 5))
    np.testing.assert_array_equal(whole.astype(int), plain[batch].astype(int))
    assert views_of_epoch.take(batch[:0], 5).shape == (0, 1)


def test_pixels_have_new_views_in_every_epoch(picture: npt.NDArray[np.uint8]) -> None:
    digests = [f"{number:032x}" for number in range(60)]
    views_of_epoch = DrawnViews(InMemory(np.stack([picture] * 60)), digests, seed=0)
    everything = np.arange(60)
    first, second = (views_of_epoch.take(everything, epoch) for epoch in range(2))
    np.testing.assert_array_equal(first, views_of_epoch.take(everything, 0))
    np.testing.assert_array_equal(first[10:20], views_of_epoch.take(everything[10:20], 0))
    random = {
        view.tobytes()
        for view in (*first, *second)
        if (view != picture).any() and (view != picture[:, ::-1]).any()
    }
    plain = sum(view.tobytes() not in random for view in (*first, *second))
    assert 40 < plain < 80
    assert len(random) == 120 - plain
    assert views_of_epoch.take(everything[:0], 0).shape == (0, SIZE, SIZE, 3)


def test_rows_of_views_equal_the_rows_of_each_view(picture: npt.NDArray[np.uint8]) -> None:
    pixels, digests = np.stack([picture, picture[::-1]]), [DIGEST, "60" * 32]
    rows = features.transform_views(features.identity, 4, 3)(pixels, digests)
    assert rows.shape == (2, 4, SIZE, SIZE, 3)
    for number, of_number in zip(
        views.stored_numbers(3), rows.transpose(1, 0, 2, 3, 4), strict=True
    ):
        np.testing.assert_array_equal(of_number[1], views.view(pixels[1], digests[1], 4, number))
