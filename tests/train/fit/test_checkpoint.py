"""The state of a run: the best epoch, early stopping, and checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.ray


def row(accuracy: float, loss: float) -> dict[str, float]:
    """The metrics of an epoch that the state reads."""
    return {"validation_accuracy": accuracy, "validation_loss": loss}


def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss() -> None:
    from pintag.train.fit.checkpoint import TrainingState

    state = TrainingState()
    for number, (accuracy, loss) in enumerate([(0.5, 1.0), (0.8, 0.6), (0.8, 0.5), (0.7, 0.1)]):
        state = state.after(row(accuracy, loss), [np.array([number])], [])
    assert state.best_epoch == 3
    assert state.best_weights[0][0] == 2
    assert state.weights[0][0] == 3


def test_a_worse_later_phase_does_not_change_the_best_epoch() -> None:
    from pintag.train.fit.checkpoint import TrainingState

    state = (
        TrainingState().after(row(0.9, 0.3), [np.array([1.0])], []).next_phase([np.array([1.5])])
    )
    assert (state.phase, state.epoch, state.weights) == (1, 0, [])
    state = state.after(row(0.8, 0.2), [np.array([2.0])], [])
    assert (state.best_epoch, state.best_weights[0][0]) == (0, 1.5)
    state = state.after(row(0.95, 0.2), [np.array([3.0])], [])
    assert (state.best_epoch, state.best_weights[0][0]) == (2, 3.0)


def test_a_state_is_stale_after_enough_epochs_without_improvement() -> None:
    from pintag.train.fit.checkpoint import TrainingState

    state = TrainingState()
    stale = []
    for accuracy in (0.5, 0.6, 0.6, 0.6):
        state = state.after(row(accuracy, 1.0), [], [])
        stale.append(state.is_stale(2))
    assert stale == [False, False, False, True]
    assert not state.is_stale(None)


def test_a_checkpoint_restores_the_state(tmp_path: Path) -> None:
    from pintag.train.fit import checkpoint
    from pintag.train.fit.checkpoint import TrainingState

    weights = [np.ones((2, 3), np.float32), np.arange(4.0)]
    state = (
        TrainingState().after(row(0.5, 1.0), weights, [np.array(7, np.int64)]).next_phase(weights)
    )
    state = state.after(row(0.4, 1.0), [np.zeros(2)], [np.array(8, np.int64)])
    with checkpoint.save(state, tmp_path) as saved:
        assert Path(saved.path).parent == tmp_path
        loaded = checkpoint.load(Path(saved.path))
    assert not list(tmp_path.iterdir())
    assert loaded.history == state.history
    assert (loaded.phase, loaded.epoch, loaded.best_epoch) == (1, 1, 0)
    assert loaded.best_score == state.best_score
    for array, expected in zip(
        [*loaded.weights, *loaded.optimizer, *loaded.best_weights],
        [np.zeros(2), np.array(8), *weights],
        strict=True,
    ):
        np.testing.assert_array_equal(array, expected)
