"""Removes the results of a resumed study that depend on a choice which has changed.

A trial that failed is run again when its study is resumed. If it succeeds this time, another
setting of its model may be the best one, or another model may win.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from pintag.train.fit.workspace import Workspace
from pintag.train.study.best_trials import BestTrial
from pintag.train.study.cross_validation import fold_prefix
from pintag.train.study.study_store import StudyStore

_SETTING, _WINNER = "best setting", "winner"
# What is recorded for each model by its name, and depends on the best setting.
_OF_MODEL = ("parameters", "predictions")


def remove_of_other_settings(store: StudyStore, best: Iterable[BestTrial]) -> None:
    """Remove the folds and measurements of each model whose best setting has changed."""
    recorded = store.recorded(_SETTING)
    for trial in best:
        if recorded.get(trial.name, trial.number) != trial.number:
            store.trial_results.remove_starting(fold_prefix(trial.name))
            for kind in _OF_MODEL:
                store.forget(kind, trial.name)
        if recorded.get(trial.name) != trial.number:
            store.record(_SETTING, trial.name, trial.number)


def remove_of_other_winner(store: StudyStore, winner: BestTrial) -> None:
    """Remove the bundle, its unfinished fit and its explanations if another trial wins now.

    A study of release 0.1 did not record its winner; its bundle is kept.
    """
    name = winner.model.trial_name(winner.number)
    recorded = store.recorded(_WINNER).get("trial")
    if recorded not in (None, name):
        shutil.rmtree(store.bundle, ignore_errors=True)
        Workspace(store.bundle).remove()
        store.forget("explained")
    if recorded != name:
        store.record(_WINNER, "trial", name)
