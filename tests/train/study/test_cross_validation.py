"""Cross-validation: each image is tested once, by a model trained without it and its copies."""

from __future__ import annotations

import numpy as np
import pytest

from pintag.core.errors import TrainingError
from pintag.train.config import SvmConfig
from pintag.train.study import cross_validation
from pintag.train.study.trials import Trial

pytestmark = pytest.mark.ray

TARGETS = np.repeat([0, 1, 2], 20)
SINGLE = np.arange(60)


def folds(
    groups: np.ndarray = SINGLE,
    count: int = 5,
    seed: int = 0,
    indices: np.ndarray | None = None,
) -> list[Trial]:
    return cross_validation.fold_trials(
        "svm",
        SvmConfig(),
        ("pixels",),
        TARGETS,
        groups,
        SINGLE if indices is None else indices,
        count,
        seed,
    )


def test_every_image_is_tested_once() -> None:
    tested = np.concatenate([fold.test for fold in folds()])
    assert sorted(tested) == list(range(60))


def test_no_image_is_in_two_parts_of_a_fold() -> None:
    for fold in folds():
        parts = [*fold.train, *fold.validation, *fold.test]
        assert sorted(parts) == list(range(60))


def test_folds_are_stratified_by_label() -> None:
    for fold in folds():
        assert np.bincount(TARGETS[fold.test]).tolist() == [4, 4, 4]


def test_images_of_one_group_stay_together() -> None:
    groups = SINGLE // 2
    for fold in folds(groups):
        parts = [set(groups[part]) for part in (fold.train, fold.validation, fold.test)]
        assert not parts[0] & parts[1]
        assert not parts[1] & parts[2]
        assert not parts[0] & parts[2]


def test_the_seed_determines_the_folds() -> None:
    first, again, other = (folds(seed=seed)[0].test.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_more_folds_than_images_of_a_label_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"cross_validation\.folds"):
        folds(count=21)


def test_other_rows_are_never_used() -> None:
    indices = np.flatnonzero(SINGLE % 4)
    trials = folds(indices=indices)
    assert sorted(np.concatenate([fold.test for fold in trials])) == indices.tolist()
    for fold in trials:
        parts = [*fold.train, *fold.validation, *fold.test]
        assert sorted(parts) == indices.tolist()
    assert [fold.name for fold in trials] == [f"svm.fold.{number:02}" for number in range(5)]
