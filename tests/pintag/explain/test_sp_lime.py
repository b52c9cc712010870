"""SP-LIME: coverage as the paper defines it, and the bound of the greedy choice."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pintag.explain.explanation import ExplainConfig, Explanation, PhaseSeconds
from pintag.explain.sp_lime import cover, pick
from pintag.explain.surrogate import LabelExplanation, Surrogate

# Each image is a row of four blocks, and each block is a segment.
RED, GREEN, BLUE, GREY = (200, 30, 30), (30, 160, 30), (30, 30, 200), (128, 128, 128)
SEGMENTS = np.repeat(np.arange(4, dtype=np.int32), 8)[None].repeat(8, axis=0)


def explained(
    colours: list[tuple[int, int, int]],
    weights: list[float],
    label: int = 0,
    config: ExplainConfig | None = None,
) -> Explanation:
    image = np.array(colours, np.uint8)[SEGMENTS]
    surrogate = Surrogate(np.array(weights), 0.0, 1.0, 0.9, "probability")
    result = LabelExplanation(label, 0.9, surrogate, "budget")
    return Explanation(
        image, SEGMENTS, result, 10, PhaseSeconds(0, 0, 0), config or ExplainConfig()
    )


def by_colour(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A model of three labels: how red, green and blue an image is."""
    means = images.reshape(len(images), -1, 3).mean(axis=1) + 1
    return (means / means.sum(axis=1, keepdims=True)).astype(np.float32)


def covered(weights: npt.NDArray[np.float64], rows: tuple[int, ...]) -> float:
    """c(V, W, I) of the paper: the importance of all features that the rows cover."""
    columns = range(weights.shape[1])
    importance = [sum(abs(weights[i, j]) for i in range(len(weights))) ** 0.5 for j in columns]
    return sum(importance[j] for j in columns if any(abs(weights[i, j]) > 0 for i in rows))


def matrices() -> list[npt.NDArray[np.float64]]:
    """Explanation matrices of many densities, with positive and negative weights."""
    random = np.random.default_rng(0)
    weights = []
    for density in (0.1, 0.25, 0.5, 0.9):
        for _ in range(6):
            present = random.random((8, 10)) < density
            weights.append(np.where(present, random.normal(size=present.shape), 0))
    return weights


# The matrix


def test_the_example_of_the_paper() -> None:
    """Figure 5: rows 2 and 5 are picked, and cover all features except the first."""
    weights = np.array(
        [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 1]],
        float,
    )
    chosen = cover(weights, 2)
    assert chosen.importance == pytest.approx([1, 3**0.5, 2**0.5, 1, 1])
    assert chosen.indices == [1, 4]
    assert chosen.coverage == pytest.approx([3**0.5 + 2**0.5, 3**0.5 + 2**0.5 + 2])
    assert chosen.brings == [[1, 2], [3, 4]]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_coverage_equals_the_formula_of_the_paper_after_every_pick(count: int) -> None:
    for weights in matrices():
        chosen = cover(weights, count)
        for size in range(1, count + 1):
            expected = covered(weights, tuple(chosen.indices[:size]))
            assert chosen.coverage[size - 1] == pytest.approx(expected)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_greedy_choice_is_within_its_bound_of_the_best_choice(count: int) -> None:
    for weights in matrices():
        best = max(covered(weights, rows) for rows in itertools.combinations(range(8), count))
        coverage = cover(weights, count).coverage[-1]
        assert (1 - 1 / np.e) * best - 1e-9 <= coverage <= best + 1e-9
        if count == 1:
            assert coverage == pytest.approx(best)


def test_each_pick_adds_the_most_coverage() -> None:
    for weights in matrices():
        chosen = cover(weights, 4)
        for size, index in enumerate(chosen.indices):
            before = tuple(chosen.indices[:size])
            gains = [covered(weights, (*before, other)) for other in range(8)]
            assert gains[index] == pytest.approx(max(gains))


def test_each_feature_is_new_in_exactly_one_pick() -> None:
    for weights in matrices():
        chosen = cover(weights, 8)
        new_features = [feature for brings in chosen.brings for feature in brings]
        assert sorted(new_features) == list(np.flatnonzero(np.abs(weights).sum(axis=0)))
        for index, brings in zip(chosen.indices, chosen.brings, strict=True):
            assert all(weights[index, brings])
            assert brings == sorted(brings, key=lambda feature: -chosen.importance[feature])


def test_a_feature_of_many_rows_is_more_important_than_one_large_weight() -> None:
    """Importance is a square root of a sum: four weights of 1 count more than one of 3."""
    weights = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 3]], float)
    assert cover(weights, 1).indices == [0]


def test_the_sign_of_a_weight_makes_no_difference() -> None:
    for weights in matrices():
        assert cover(weights, 4).indices == cover(-weights, 4).indices


def test_if_there_are_too_few_rows_all_are_picked_in_order() -> None:
    weights = np.array([[0, 1, 0], [1, 1, 1], [0, 0, 0]], float)
    chosen = cover(weights, 10)
    assert chosen.indices == [1, 0, 2]
    assert chosen.brings[1:] == [[], []]
    assert chosen.coverage[0] == chosen.coverage[-1] == pytest.approx(chosen.importance.sum())


def test_the_first_of_equally_good_rows_is_picked() -> None:
    assert cover(np.ones((4, 3)), 4).indices == [0, 1, 2, 3]
    assert cover(np.zeros((3, 2)), 2).indices == [0, 1]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_empty_matrices_are_not_an_error(shape: tuple[int, int]) -> None:
    chosen = cover(np.zeros(shape), 2)
    assert chosen.indices == list(range(shape[0]))
    assert chosen.coverage == [0.0] * shape[0]


# Images


def kinds(count: int) -> list[Explanation]:
    """Images of one label: red is evidence for it in all of them, blue in every second one."""
    return [
        explained([RED, GREY, BLUE, GREY], [0.5, 0.0, 0.4 if index % 2 else 0.0, 0.0])
        for index in range(count)
    ]


def test_similar_segments_are_one_feature() -> None:
    picked = pick(kinds(10), 1, by_colour)
    assert len(picked.features) == 2
    for feature in picked.features:
        assert len({member.segment for member in feature.members}) == 1
    red, blue = picked.features
    assert (red.images, blue.images) == (10, 5)


def test_an_image_with_both_features_is_picked_first() -> None:
    picked = pick(kinds(10), 2, by_colour)
    assert picked.indices[0] == 1
    assert picked.brings == [[0, 1], []]
    assert picked.coverage[0] == pytest.approx(picked.importance.sum())


def test_features_are_sorted_by_label_and_importance() -> None:
    both = kinds(10) + [
        replace(image, result=replace(image.result, label=2)) for image in kinds(10)
    ]
    picked = pick(both, 2, by_colour)
    assert [feature.label for feature in picked.features] == [0, 0, 2, 2]
    for before, after in itertools.pairwise(picked.features):
        assert before.importance >= after.importance or before.label != after.label
    # One image of each label shows all features.
    assert {both[index].result.label for index in picked.indices} == {0, 2}
    assert picked.coverage[-1] == pytest.approx(picked.importance.sum())


def test_the_matrix_has_the_weights_of_the_features() -> None:
    picked = pick(kinds(10), 2, by_colour)
    assert picked.weights.shape == (10, 2)
    assert picked.importance == pytest.approx([feature.importance for feature in picked.features])
    assert picked.weights[0] == pytest.approx([1, 0])
    assert picked.weights[1] == pytest.approx([0.5 / 0.9, 0.4 / 0.9])


def test_larger_weights_do_not_make_an_image_more_important() -> None:
    images = kinds(10)
    large = explained([RED, GREY, BLUE, GREY], [500.0, 0.0, 400.0, 0.0])
    changed = pick([*images[:3], large, *images[4:]], 5, by_colour)
    unchanged = pick(images, 5, by_colour)
    assert changed.weights == pytest.approx(unchanged.weights)


def test_evidence_against_the_label_is_not_a_feature() -> None:
    images = [explained([RED, BLUE, GREY, GREY], [0.5, -0.9, 0.0, 0.0]) for _ in range(8)]
    picked = pick(images, 1, by_colour)
    members = [member for feature in picked.features for member in feature.members]
    assert {member.segment for member in members} == {0}


def test_only_the_top_segments_of_an_image_count() -> None:
    config = ExplainConfig(num_features=1)
    images = [
        explained([RED, BLUE, GREY, GREY], [0.5, 0.4, 0.3, 0.2], config=config) for _ in range(8)
    ]
    picked = pick(images, 1, by_colour)
    members = [member for feature in picked.features for member in feature.members]
    assert {(member.segment, member.weight) for member in members} == {(0, 1.0)}


def test_images_without_evidence_for_the_label_add_no_features() -> None:
    blank = explained([GREY] * 4, [0.0] * 4)
    picked = pick([blank, *kinds(4)], 2, by_colour)
    assert picked.indices == [2, 0]
    assert picked.brings == [[0, 1], []]
    nothing = pick([blank, blank], 1, by_colour)
    assert (nothing.indices, nothing.coverage, nothing.features) == ([0], [0.0], [])


def test_the_same_explanations_give_the_same_pick() -> None:
    random = np.random.default_rng(1)
    images = [
        explained([tuple(random.integers(0, 256, 3)) for _ in range(4)], list(random.random(4)))
        for _ in range(30)
    ]
    first, second = pick(images, 6, by_colour), pick(images, 6, by_colour)
    assert (first.indices, first.brings) == (second.indices, second.brings)
    assert first.features == second.features
    np.testing.assert_array_equal(first.weights, second.weights)
