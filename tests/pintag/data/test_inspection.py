"""Check a data set: problems and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pintag.data.dataset import SPLITS, DataSet, Example, Unreadable
from pintag.data.inspection import IMBALANCE, Inspection, inspect
from pintag.data.labels import Labels

LABELS = Labels(("cat", "dog", "emu"))
CONTENTS = iter(range(10**6))


def examples(*counts: int) -> tuple[Example, ...]:
    """Examples with different contents, with these counts by label."""
    return tuple(
        Example(Path(f"{LABELS[target]}-{index}.jpg"), target, f"content {next(CONTENTS)}")
        for target, count in enumerate(counts)
        for index in range(count)
    )


def inspected(
    train: Sequence[Example] = (),
    validation: Sequence[Example] = (),
    test: Sequence[Example] = (),
    unreadable: tuple[Unreadable, ...] = (),
    divided: tuple[str, ...] = (),
) -> Inspection:
    splits = {
        "train": (*examples(2, 2, 2), *train),
        "validation": (*examples(1, 1, 1), *validation),
        "test": (*examples(1, 1, 1), *test),
    }
    return inspect(DataSet(Path("pets"), LABELS, splits, unreadable, divided))


def of(train: Sequence[int], validation: Sequence[int], test: Sequence[int]) -> Inspection:
    splits = {
        split: examples(*counts)
        for split, counts in zip(SPLITS, (train, validation, test), strict=True)
    }
    return inspect(DataSet(Path("pets"), LABELS, splits))


def copy(content: str, *labels: str) -> list[Example]:
    """Files of equal content, one under each label."""
    return [Example(Path(f"{name}-copy.jpg"), LABELS.index(name), content) for name in labels]


def test_a_good_data_set_has_no_problems_or_warnings() -> None:
    checked = inspected()
    assert checked.usable
    assert (checked.problems, checked.warnings, checked.duplicates) == ((), (), ())
    assert (checked.unreadable, checked.imbalance) == ((), 1.0)


def test_counts_name_every_split_and_label() -> None:
    assert of((3, 2, 1), (1, 0, 0), (0, 4, 0)).counts == {
        "train": {"cat": 3, "dog": 2, "emu": 1},
        "validation": {"cat": 1, "dog": 0, "emu": 0},
        "test": {"cat": 0, "dog": 4, "emu": 0},
    }


def test_a_label_without_training_images_is_a_problem() -> None:
    checked = of((2, 0, 2), (1, 1, 1), (1, 1, 1))
    assert not checked.usable
    assert checked.problems == ("label 'dog' has no readable image in the train split",)
    assert checked.warnings == ()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_label_missing_from_another_split_is_not_a_problem(split: str) -> None:
    counts = {"validation": (1, 1, 1), "test": (1, 1, 1), split: (1, 0, 0)}
    assert of((2, 2, 2), counts["validation"], counts["test"]).usable


@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_empty_split_is_a_problem(split: str) -> None:
    counts = {"validation": (1, 1, 1), "test": (1, 1, 1), split: (0, 0, 0)}
    checked = of((2, 2, 2), counts["validation"], counts["test"])
    assert checked.problems == tuple(
        f"label {label!r} has no readable image in the {split} split" for label in LABELS
    )


def test_unreadable_files_are_listed_and_counted() -> None:
    files = (Unreadable(Path("a.txt"), "not an image"), Unreadable(Path("b.jpg"), "corrupt"))
    checked = inspected(unreadable=files)
    assert checked.unreadable == files
    assert checked.usable
    assert checked.warnings == ("2 files are unreadable and will be skipped",)


@pytest.mark.parametrize(
    ("divided", "words"),
    [(("test",), "no folder for test:"), (("validation", "test"), "for validation or test:")],
)
def test_a_warning_names_a_split_taken_from_training(divided: tuple[str, ...], words: str) -> None:
    (warning,) = inspected(divided=divided).warnings
    assert words in warning


def test_duplicates_within_a_split_and_label_are_listed_without_a_warning() -> None:
    checked = inspected(train=copy("same", "cat", "cat"))
    (group,) = checked.duplicates
    assert group.files == (("train", "cat", Path("cat-copy.jpg")),) * 2
    assert not group.across_splits
    assert not group.across_labels
    assert checked.warnings == ()


def test_duplicates_across_labels_give_a_warning() -> None:
    checked = inspected(train=copy("same", "cat", "emu"))
    (group,) = checked.duplicates
    assert group.across_labels
    assert not group.across_splits
    assert checked.warnings == ("1 image has more than one label",)


def test_duplicates_across_splits_give_a_warning() -> None:
    checked = inspected(train=copy("same", "dog"), test=copy("same", "dog"))
    (group,) = checked.duplicates
    assert group.across_splits
    assert not group.across_labels
    assert checked.warnings == ("1 image is in more than one split: scores will be too high",)


def test_all_copies_of_an_image_count_once() -> None:
    checked = inspected(
        train=[*copy("one", "cat", "dog", "dog"), *copy("other", "emu")],
        validation=copy("one", "cat"),
        test=[*copy("one", "emu"), *copy("other", "emu")],
    )
    assert sorted(len(group.files) for group in checked.duplicates) == [2, 5]
    assert checked.warnings == (
        "2 images are in more than one split: scores will be too high",
        "1 image has more than one label",
    )
    assert checked.usable


def test_imbalance_is_the_largest_training_label_over_the_smallest() -> None:
    assert of((2, 5, 4), (9, 1, 1), (1, 9, 1)).imbalance == 2.5
    assert of((2, 0, 4), (1, 1, 1), (1, 1, 1)).imbalance == float("inf")


def test_imbalance_above_the_threshold_gives_a_warning() -> None:
    at, above = (of((2, largest, 4), (1, 1, 1), (1, 1, 1)) for largest in (6, 7))
    assert (at.imbalance, at.warnings) == (IMBALANCE, ())
    assert above.usable
    (warning,) = above.warnings
    assert "3.5 times" in warning
    assert "head.class_weights=balanced" in warning
