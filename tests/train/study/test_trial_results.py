"""The files of trial results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pintag.core.errors import TrainingError
from pintag.train.study.learners import TrialResult
from pintag.train.study.trial_results import TrialResults, encode


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    results = TrialResults(tmp_path / "outcomes")
    written = TrialResult(
        validation=np.ones((3, 2), np.float32),
        test=np.zeros((1, 2), np.float32),
        training_accuracy=0.5,
        parameters=7,
        history=({"epoch": 1, "loss": 0.25},),
        seconds=1.5,
    )
    results.write("a", encode(written))
    assert "a" in results
    assert "b" not in results
    read = results.read("a")
    np.testing.assert_array_equal(read.validation, written.validation)
    assert (read.history, read.seconds, read.parameters) == (written.history, 1.5, 7)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", b"PK\3\4 cut off"])
def test_a_damaged_result_is_one_line(tmp_path: Path, content: bytes) -> None:
    results = TrialResults(tmp_path / "outcomes")
    results.write("a", content)
    with pytest.raises(TrainingError, match=r"a\.npz: damaged; delete it"):
        results.read("a")
