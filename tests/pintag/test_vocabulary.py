"""Visual words: what segments are described by, and how they are sorted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pintag import vocabulary

LEFT_RIGHT = np.repeat(np.array([0, 1], np.int32), 16)[None].repeat(32, axis=0)


def halves(left: tuple[int, ...], right: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return np.array([left, right], np.uint8)[LEFT_RIGHT]


def test_looks_are_colour_spread_edges_size_and_place() -> None:
    image = halves((255, 255, 255), (0, 0, 0))
    image[::2, 16:] = 255
    white, striped = vocabulary.looks(image, LEFT_RIGHT)
    lightness, red, yellow, edges, height, middle = white[:6]
    assert (lightness, red, yellow) == pytest.approx((100, 0, 0), abs=0.1)
    assert height == pytest.approx(0.5)
    assert middle == pytest.approx(0.25)
    assert white[6:9] == pytest.approx([0, 0, 0], abs=0.1)
    assert striped[0] == pytest.approx(50, abs=0.1)
    assert striped[6] == pytest.approx(50, abs=0.1)
    assert striped[3] > edges
    assert white[9] == striped[9] == pytest.approx(np.log(0.5))


def test_a_mirrored_image_looks_the_same() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (32, 32, 3), np.uint8)
    mirrored = vocabulary.looks(image[:, ::-1], LEFT_RIGHT[:, ::-1])
    np.testing.assert_allclose(mirrored, vocabulary.looks(image, LEFT_RIGHT), rtol=1e-9)


def test_the_model_is_shown_each_segment_alone_and_large() -> None:
    shown: list[npt.NDArray[np.uint8]] = []

    def predict(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        shown.append(images.copy())
        return np.tile(np.array([0.2, 0.8], np.float32), (len(images), 1))

    segments = LEFT_RIGHT.copy()
    segments[8:24, 8:24] = 2
    image = halves((200, 0, 0), (0, 0, 200))
    image[8:24, 8:24] = (0, 200, 0)
    hidden = np.full_like(image, 9)
    said = vocabulary.answers(image, hidden, segments, [2, 0], predict)
    [(green, red)] = shown
    assert (green == (0, 200, 0)).all()
    assert (red[:, 0] == (200, 0, 0)).all()
    assert (red[16, -1] == (9, 9, 9)).all()
    assert said == pytest.approx(np.array([[-1, 1], [-1, 1]]) * np.log(0.8 / 0.2) / 2, abs=1e-6)


def test_a_confidence_of_zero_is_no_infinity() -> None:
    def sure(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.tile(np.array([0, 1], np.float32), (len(images), 1))

    image = halves((200, 0, 0), (0, 0, 200))
    said = vocabulary.answers(image, np.zeros_like(image), LEFT_RIGHT, [0, 1], sure)
    assert np.isfinite(said).all()


def groups(count: int, size: int) -> npt.NDArray[np.float64]:
    """Well separated clusters, shuffled together: row i belongs to cluster i % count."""
    random = np.random.default_rng(0)
    centres = 100 * np.arange(count)[:, None] * np.ones(3)
    return np.tile(centres, (size, 1)) + random.normal(size=(count * size, 3))


def test_clusters_are_found_whole() -> None:
    # 4 clusters of 8: sqrt(32 / 2) is 4.
    found = vocabulary.words(groups(4, 8))
    assert sorted(sorted(word % 4) for word in found) == [[each] * 8 for each in range(4)]


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (2, 1), (5, 2), (32, 4), (200, 10)])
def test_there_are_so_many_words_as_the_rule_says(count: int, expected: int) -> None:
    rows = np.random.default_rng(0).normal(size=(count, 4))
    found = vocabulary.words(rows)
    assert len(found) == expected
    assert sorted(np.concatenate(found)) == list(range(count))


def test_equal_segments_are_one_word() -> None:
    assert [list(word) for word in vocabulary.words(np.ones((50, 3)))] == [list(range(50))]


def test_the_most_typical_row_comes_first() -> None:
    [word] = vocabulary.words(np.array([[0.0], [10.0], [6.0]]))
    assert list(word) == [2, 1, 0]


def test_a_block_of_many_columns_counts_no_more_than_one_of_few() -> None:
    """What one column says is not drowned by twenty that say nothing."""
    kind = np.arange(32) % 4
    noise = np.random.default_rng(0).normal(size=(32, 20))

    def purity(words: list[vocabulary.Rows]) -> float:
        return sum(np.bincount(kind[word]).max() for word in words) / 32

    known = kind[:, None].astype(float)
    assert purity(vocabulary.words(known, noise)) > purity(
        vocabulary.words(np.hstack([known, noise]))
    )


def test_descriptors_in_other_units_give_the_same_words() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    other = rows * [1, 1000, 0.001] + [5, -5, 0]
    for one, two in zip(vocabulary.words(rows), vocabulary.words(other), strict=True):
        np.testing.assert_array_equal(one, two)
