"""Outcomes: as they went, and whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from train.learners import Outcome
from train.outcomes import Outcomes, encode


def test_an_outcome_comes_back_as_it_went(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "outcomes")
    made = Outcome(
        validation=np.ones((3, 2), np.float32),
        test=np.zeros((1, 2), np.float32),
        training_accuracy=0.5,
        parameters=7,
        history=({"epoch": 1, "loss": 0.25},),
        seconds=1.5,
    )
    outcomes.write("a", encode(made))
    assert "a" in outcomes
    assert "b" not in outcomes
    found = outcomes.read("a")
    np.testing.assert_array_equal(found.validation, made.validation)
    assert (found.history, found.seconds, found.parameters) == (made.history, 1.5, 7)
