"""Visual words: the descriptors of segments, and their clusters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pintag.explain import visual_words

LEFT_RIGHT = np.repeat(np.array([0, 1], np.int32), 16)[None].repeat(32, axis=0)


def halves(left: tuple[int, ...], right: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return np.array([left, right], np.uint8)[LEFT_RIGHT]


def test_a_look_is_colour_spread_edges_size_and_position() -> None:
    image = halves((255, 255, 255), (0, 0, 0))
    image[::2, 16:] = 255
    white, striped = visual_words.looks(image, LEFT_RIGHT)
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
    mirrored = visual_words.looks(image[:, ::-1], LEFT_RIGHT[:, ::-1])
    np.testing.assert_allclose(mirrored, visual_words.looks(image, LEFT_RIGHT), rtol=1e-9)


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
    predicted = visual_words.answers(image, hidden, segments, [2, 0], predict)
    [(green, red)] = shown
    assert (green == (0, 200, 0)).all()
    assert (red[:, 0] == (200, 0, 0)).all()
    assert (red[16, -1] == (9, 9, 9)).all()
    assert predicted == pytest.approx(
        np.array([[-1, 1], [-1, 1]]) * np.log(0.8 / 0.2) / 2, abs=1e-6
    )


def test_a_confidence_of_zero_gives_a_finite_logarithm() -> None:
    def sure(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.tile(np.array([0, 1], np.float32), (len(images), 1))

    image = halves((200, 0, 0), (0, 0, 200))
    predicted = visual_words.answers(image, np.zeros_like(image), LEFT_RIGHT, [0, 1], sure)
    assert np.isfinite(predicted).all()


def groups(count: int, size: int) -> npt.NDArray[np.float64]:
    """Well separated clusters, shuffled together: row i belongs to cluster i % count."""
    random = np.random.default_rng(0)
    centres = 100 * np.arange(count)[:, None] * np.ones(3)
    return np.tile(centres, (size, 1)) + random.normal(size=(count * size, 3))


def test_separate_clusters_become_separate_words() -> None:
    # 4 clusters of 8: sqrt(32 / 2) is 4.
    words = visual_words.words(groups(4, 8))
    assert sorted(sorted(word % 4) for word in words) == [[cluster] * 8 for cluster in range(4)]


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (2, 1), (5, 2), (32, 4), (200, 10)])
def test_the_number_of_words_follows_the_rule(count: int, expected: int) -> None:
    rows = np.random.default_rng(0).normal(size=(count, 4))
    words = visual_words.words(rows)
    assert len(words) == expected
    assert sorted(np.concatenate(words)) == list(range(count))


def test_equal_segments_are_one_word() -> None:
    assert [list(word) for word in visual_words.words(np.ones((50, 3)))] == [list(range(50))]


def test_the_most_typical_row_comes_first() -> None:
    [word] = visual_words.words(np.array([[0.0], [10.0], [6.0]]))
    assert list(word) == [2, 1, 0]


def test_all_blocks_have_equal_weight() -> None:
    """Twenty columns without information do not outweigh one with information."""
    kind = np.arange(32) % 4
    noise = np.random.default_rng(0).normal(size=(32, 20))

    def purity(words: list[visual_words.Rows]) -> float:
        return sum(np.bincount(kind[word]).max() for word in words) / 32

    known = kind[:, None].astype(float)
    assert purity(visual_words.words(known, noise)) > purity(
        visual_words.words(np.hstack([known, noise]))
    )


def test_the_units_of_descriptors_do_not_change_the_words() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    other = rows * [1, 1000, 0.001] + [5, -5, 0]
    for one, two in zip(visual_words.words(rows), visual_words.words(other), strict=True):
        np.testing.assert_array_equal(one, two)
