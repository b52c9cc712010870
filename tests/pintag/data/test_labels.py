"""Labels and their order, and the tags of a row of confidences."""

from __future__ import annotations

import numpy as np
import pytest

from pintag.core.errors import DataError
from pintag.data.labels import DEFAULT_NAMES, Labels, Tag

LABELS = Labels(("art", "food", "houses", "travel"))


def test_labels_are_a_sequence_of_names() -> None:
    assert list(LABELS) == ["art", "food", "houses", "travel"]
    assert len(LABELS) == 4
    assert LABELS[2] == "houses"


def test_the_default_names_are_labels() -> None:
    assert tuple(Labels(DEFAULT_NAMES)) == DEFAULT_NAMES


@pytest.mark.parametrize("names", [("food", "art"), ("art", "art"), ("art", "food", "art")])
def test_unsorted_or_repeated_labels_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"sorted and unique, not \['"):
        Labels(names)


@pytest.mark.parametrize("names", [(), ("art",)])
def test_fewer_than_two_labels_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"at least two labels are needed, not \["):
        Labels(names)


def test_a_name_is_found_in_each_spelling_of_its_accents() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert Labels(("bar", composed)).index(decomposed) == 1
    assert Labels(("bar", decomposed)).index(composed) == 1
    # Two labels that look the same are two labels.
    both = Labels((decomposed, composed))
    assert [both.index(name) for name in both] == [0, 1]


def test_index_returns_the_position_of_a_name() -> None:
    assert [LABELS.index(name) for name in LABELS] == [0, 1, 2, 3]


def test_an_unknown_name_error_lists_the_labels() -> None:
    with pytest.raises(DataError, match="no label 'ships'; there are art, food, houses, travel"):
        LABELS.index("ships")


def test_tags_are_sorted_by_confidence() -> None:
    assert LABELS.top([0.1, 0.2, 0.4, 0.3]) == [
        Tag("houses", 0.4),
        Tag("travel", 0.3),
        Tag("food", 0.2),
        Tag("art", 0.1),
    ]


def test_ties_are_in_the_order_of_the_labels() -> None:
    assert [tag.label for tag in LABELS.top([0.2, 0.3, 0.2, 0.3])] == [
        "food",
        "travel",
        "art",
        "houses",
    ]
    many = Labels(tuple(f"label {index:02}" for index in range(60)))
    tags = many.top([0.25, 0.5, 0.75] * 20)
    assert [tag.label for tag in tags] == sorted(many, key=lambda name: -(many.index(name) % 3))


@pytest.mark.parametrize(("max_tags", "count"), [(None, 4), (0, 0), (1, 1), (3, 3), (9, 4)])
def test_max_tags_limits_the_number(max_tags: int | None, count: int) -> None:
    tags = LABELS.top([0.1, 0.2, 0.4, 0.3], max_tags)
    assert [tag.label for tag in tags] == ["houses", "travel", "food", "art"][:count]


def test_min_confidence_is_inclusive() -> None:
    row = [0.125, 0.25, 0.5, 0.125]
    assert [tag.label for tag in LABELS.top(row, min_confidence=0.25)] == ["houses", "food"]
    assert LABELS.top(row, min_confidence=0.51) == []
    assert len(LABELS.top(row, max_tags=1, min_confidence=0.25)) == 1


def test_confidences_of_tags_are_plain_floats() -> None:
    for tag in LABELS.top(np.array([0.1, 0.2, 0.4, 0.3], np.float32)):
        assert type(tag.confidence) is float
