"""Results of a resumed study are removed when the choice behind them has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pintag.train.study import outdated
from pintag.train.study.best_trials import BestTrial
from pintag.train.study.learners import TrialResult
from pintag.train.study.plan import ComparedModel
from pintag.train.study.study_store import StudyStore

pytestmark = pytest.mark.ray


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    store = StudyStore(tmp_path / "study")
    store.claim({}, resume=False, overwrite=False)
    return store


def best_trial(name: str, number: int) -> BestTrial:
    nothing = np.empty((0, 2), np.float32)
    result = TrialResult(nothing, nothing, training_accuracy=1.0, parameters=1)
    return BestTrial(ComparedModel(name, name, "transfer", "", ({},), ()), number, result, (1, 1))


def test_the_folds_and_times_of_another_setting_are_removed(store: StudyStore) -> None:
    results = store.trial_results
    for trial in ("a.0", "a.fold.00", "a.fold.01", "b.0", "b.fold.00"):
        results.write(trial, b"")
    for name in ("a", "b"):
        store.record("predictions", name, 0.1)
    outdated.remove_of_other_settings(store, [best_trial("a", 0), best_trial("b", 0)])
    assert "a.fold.00" in results
    outdated.remove_of_other_settings(store, [best_trial("a", 1), best_trial("b", 0)])
    kept = {path.stem for path in results.folder.iterdir()}
    assert kept == {"a.0", "b.0", "b.fold.00"}
    assert store.recorded("predictions") == {"b": 0.1}


def test_the_bundle_and_explanations_of_another_winner_are_removed(store: StudyStore) -> None:
    unfinished = store.folder / "bundle.run"
    for winner, is_kept in ((0, True), (0, True), (1, False)):
        store.write("bundle/bundle.json", "{}")
        unfinished.mkdir(exist_ok=True)
        store.record("explained", "art-0", None)
        outdated.remove_of_other_winner(store, best_trial("a", winner))
        assert (store.bundle.exists(), unfinished.exists()) == (is_kept, is_kept)
        assert store.recorded("explained") == ({"art-0": None} if is_kept else {})
