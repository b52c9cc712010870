"""Studies of version 0.1: this version reads their files and resumes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag.report.results import Results, Timings
from pintag.train.study.trial_results import TrialResults
from tests.commands import run_here
from tests.train.small_study import TRIALS, FinishedStudy, finished_trials

REQUEST = Path(__file__).with_name("request-0.1.json")
# The training time in the files of 0.1, which no fit here would take.
SECONDS = 4321.0


def write_trial(path: Path, validation: Any, test: Any, **fields: Any) -> None:
    """Write the result of a trial as 0.1 did."""
    with path.open("wb") as file:
        np.savez(file, told=np.array(json.dumps(fields)), validation=validation, test=test)


@pytest.fixture
def study(finished: FinishedStudy, tmp_path: Path) -> Path:
    """The folder of an interrupted study of 0.1: all trials are finished, but no report exists."""
    out = tmp_path / "out"
    out.mkdir()
    shutil.copytree(finished.out / "bundle", out / "bundle")
    shutil.copytree(finished.out / "gallery", out / "gallery")
    fingerprint = json.loads((finished.out / "request.json").read_text())["data"]
    request = json.loads(REQUEST.read_text()) | {"data": fingerprint}
    (out / "request.json").write_text(json.dumps(request, indent=2) + "\n")
    (out / "outcomes").mkdir()
    for name in TRIALS:
        result = TrialResults(finished.out / "outcomes").read(name)
        write_trial(
            out / "outcomes" / f"{name}.npz",
            result.validation,
            result.test,
            training_accuracy=result.training_accuracy,
            parameters=result.parameters,
            history=result.history,
            seconds=SECONDS,
        )
    progress = json.loads((finished.out / "progress.json").read_text())
    progress["stages"] = {"trials": SECONDS}
    for image in progress["explained"].values():
        image.pop("original")
    (out / "progress.json").write_text(json.dumps(progress, indent=1) + "\n")
    return out


def test_results_of_trials_are_read(tmp_path: Path) -> None:
    results = TrialResults(tmp_path / "outcomes")
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_trial(
        tmp_path / "outcomes" / "svm.0.npz", logits, logits[:1],
        training_accuracy=0.5, parameters=7, history=[{"epoch": 1, "loss": 0.25}], seconds=1.5,
    )  # fmt: skip
    result = results.read("svm.0")
    np.testing.assert_array_equal(result.validation, logits)
    np.testing.assert_array_equal(result.test, logits[:1])
    assert (result.training_accuracy, result.parameters) == (0.5, 7)
    assert (result.history, result.seconds) == (({"epoch": 1, "loss": 0.25},), 1.5)


@pytest.mark.ray
@pytest.mark.keras
def test_an_interrupted_study_is_resumed(
    study: Path, finished: FinishedStudy, config: Path, data: Path
) -> None:
    trials = finished_trials(study)
    manifest = study / "bundle" / "bundle.json"
    written = manifest.stat().st_mtime_ns
    resumed = run_here("study", config, "--data", data, "--out", study, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert finished_trials(study) == trials
    assert manifest.stat().st_mtime_ns == written
    results, expected = (
        Results.model_validate_json((out / "results.json").read_text())
        for out in (study, finished.out)
    )
    assert results.model_copy(update={"explained": expected.explained}) == expected
    assert len(results.explained) == len(expected.explained)
    timings = Timings.model_validate_json((study / "timings.json").read_text())
    assert set(timings.training.values()) == {SECONDS}
    assert timings.stages["trials"] >= SECONDS
    assert (study / "report.html").is_file()
