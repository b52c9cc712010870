"""Cross-validation: every image is tested on once, by a model that never saw it or its like."""

from __future__ import annotations

import numpy as np
import pytest

from pintag.errors import TrainingError
from train import crossval
from train.config import SvmConfig
from train.trials import Trial

pytestmark = pytest.mark.ray

TARGETS = np.repeat([0, 1, 2], 20)
ALONE = np.arange(60)


def folds(
    groups: np.ndarray = ALONE,
    count: int = 5,
    seed: int = 0,
    places: np.ndarray | None = None,
) -> list[Trial]:
    return crossval.trials(
        "svm",
        SvmConfig(),
        ("pixels",),
        TARGETS,
        groups,
        ALONE if places is None else places,
        count,
        seed,
    )


def test_every_image_is_tested_on_once() -> None:
    tested = np.concatenate([fold.test for fold in folds()])
    assert sorted(tested) == list(range(60))


def test_no_image_is_of_two_parts_of_a_fold() -> None:
    for fold in folds():
        parts = [*fold.train, *fold.validation, *fold.test]
        assert sorted(parts) == list(range(60))


def test_folds_have_as_many_of_each_label() -> None:
    for fold in folds():
        assert np.bincount(TARGETS[fold.test]).tolist() == [4, 4, 4]


def test_pictures_of_one_group_stay_together() -> None:
    groups = ALONE // 2
    for fold in folds(groups):
        parts = [set(groups[each]) for each in (fold.train, fold.validation, fold.test)]
        assert not parts[0] & parts[1]
        assert not parts[1] & parts[2]
        assert not parts[0] & parts[2]


def test_a_seed_decides() -> None:
    first, again, other = (folds(seed=seed)[0].test.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_more_folds_than_images_of_a_label_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"cross_validation\.folds"):
        folds(count=21)


def test_rows_that_are_not_divided_are_never_seen() -> None:
    places = np.flatnonzero(ALONE % 4)
    found = folds(places=places)
    assert sorted(np.concatenate([fold.test for fold in found])) == places.tolist()
    for fold in found:
        parts = [*fold.train, *fold.validation, *fold.test]
        assert sorted(parts) == places.tolist()
    assert [fold.name for fold in found] == [f"svm.fold.{number:02}" for number in range(5)]
