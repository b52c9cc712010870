"""Trials on Ray Tune: results are stored, failures are isolated, and no trial is repeated."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pintag.train.config import SvmConfig, TrainConfig
from pintag.train.study import learners, trials
from pintag.train.study.learners import TrialTask
from pintag.train.study.trial_results import TrialResults
from pintag.train.study.trials import OutOfMemoryError, Trial, TrialData, TrialResources
from tests.conftest import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.keras]

COUNT = 24
TARGETS = np.arange(COUNT) % 2
INDICES = np.arange(COUNT)


@pytest.fixture(scope="module", autouse=True)
def _cluster(ray_cluster: None) -> None:
    """All tests need Ray."""


@pytest.fixture(scope="module")
def data() -> TrialData:
    pixels = np.random.default_rng(0).integers(0, 100, (COUNT, 32, 32, 3), np.uint8)
    pixels[TARGETS == 1] += 100
    features = np.stack([TARGETS, 1 - TARGETS], axis=1).astype(np.float32)
    return TrialData({"pixels": pixels, "features": features}, TARGETS, 2)


@pytest.fixture
def results(tmp_path: Path) -> TrialResults:
    return TrialResults(tmp_path / "outcomes")


def svm(name: str, source: str = "pixels", gamma: float = 0.01) -> Trial:
    parts = (INDICES[:12], INDICES[12:18], INDICES[18:])
    return Trial(name, SvmConfig(gamma=gamma), (source,), *parts)


def network(name: str, epochs: int) -> Trial:
    config = TrainConfig.model_validate(
        {
            "head": {"widths": [4], "epochs": epochs, "batch_size": 1},
            "backbone": {"weights": "none"},
        }
    )
    return Trial(name, config, ("features",), INDICES[:12], INDICES[12:18], INDICES[18:])


def run(
    planned: list[Trial], data: TrialData, results: TrialResults, **options: Any
) -> dict[str, str]:
    return trials.run(planned, data, results, TrialResources(cpus=0.5), **options)


def test_results_equal_those_of_one_process(data: TrialData, results: TrialResults) -> None:
    planned = [svm("a"), network("b", 2), svm("c", gamma=0.1)]
    reported: list[tuple[float, int]] = []
    assert run(planned, data, results, progress=lambda *counts: reported.append(counts)) == {}
    assert reported[-1] == (3, 3)
    for trial in planned:
        (rows,) = (data.arrays[name] for name in trial.inputs)
        task = TrialTask(rows, TARGETS, 2, trial.train, trial.validation, trial.test)
        fit: Any = (
            learners.fit_svm if isinstance(trial.learner, SvmConfig) else learners.fit_network
        )
        np.testing.assert_allclose(
            results.read(trial.name).test, fit(trial.learner, task).test, atol=1e-5
        )
    assert [path.name for path in results.folder.parent.iterdir()] == ["outcomes"]


def test_a_failed_trial_is_reported_and_others_continue(
    data: TrialData, results: TrialResults
) -> None:
    # The SVM needs pixels, so it fails on features.
    failures = run([svm("bad", source="features"), svm("good")], data, results)
    assert list(failures) == ["bad"]
    assert "Error: " in failures["bad"]
    assert "good" in results
    assert "bad" not in results


def test_a_result_that_cannot_be_written_ends_the_trials(
    data: TrialData, results: TrialResults
) -> None:
    """As on a full disk. It is not a fault of the trial."""
    shutil.rmtree(results.folder)
    with pytest.raises(FileNotFoundError, match=str(results.folder / "a.npz")):
        run([svm("a")], data, results)


def test_a_trial_with_a_result_is_not_run_again(data: TrialData, results: TrialResults) -> None:
    run([svm("a")], data, results)
    before = (results.folder / "a.npz").stat().st_mtime_ns
    assert run([svm("a"), svm("b")], data, results) == {}
    assert (results.folder / "a.npz").stat().st_mtime_ns == before
    assert "b" in results
    # A failed trial is run again, since its cause may have disappeared.
    assert run([svm("bad", source="features")], data, results) != {}
    assert run([svm("bad")], data, results) == {}


def trial_processes() -> list[psutil.Process]:
    """The processes in which Ray runs trials of this process."""
    trials = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "ImplicitFunc" in " ".join(child.cmdline()):
                trials.append(child)
    return trials


def test_a_trial_is_repeated_when_its_process_dies(data: TrialData, results: TrialResults) -> None:
    killed = []

    def kill() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in trial_processes()[:1]:
                process.kill()
                killed.append(process)
        return bool(killed)

    killer = threading.Thread(target=wait_for, args=(kill, 120, "a trial's process"), daemon=True)
    killer.start()
    assert run([network("a", 60)], data, results) == {}
    killer.join(120)
    assert killed
    assert len(results.read("a").history) == 60


# Out of memory. That Ray itself stops a process was tried by hand (docs/benchmarks.md), because it
# depends on the other processes of the machine.


class Memory:
    """Attempts trials of given sizes, two at once, and runs out of memory above a limit."""

    def __init__(self, limit: int, **sizes: int) -> None:
        self.limit, self.sizes = limit, sizes
        self.done: list[str] = []
        self.attempts: list[list[str]] = []

    def __call__(self, trials: Sequence[Trial]) -> None:
        self.attempts.append([trial.name for trial in trials])
        for start in range(0, len(trials), 2):
            running = trials[start : start + 2]
            if sum(self.sizes[trial.name] for trial in running) > self.limit:
                raise OutOfMemoryError("too large", running, trials[start + 2 :])
            self.done += [trial.name for trial in running]


def test_a_trial_that_is_too_large_fails_alone() -> None:
    memory, failures = Memory(10, a=2, b=2, huge=11, c=2, d=2), {}
    trials.run_within_memory(memory, [svm(name) for name in memory.sizes], failures)
    assert failures == {"huge": "too large"}
    assert memory.done == ["a", "b", "c", "d"]
    assert memory.attempts == [["a", "b", "huge", "c", "d"], ["huge"], ["c"], ["d"]]


def test_trials_that_do_not_fit_together_run_one_by_one() -> None:
    memory, failures = Memory(10, a=6, b=6, c=6, d=3), {}
    trials.run_within_memory(memory, [svm(name) for name in memory.sizes], failures)
    assert failures == {}
    assert memory.done == ["a", "b", "c", "d"]


def test_trials_run_one_by_one_if_none_is_known_to_have_started() -> None:
    sizes: list[int] = []

    def attempt(trials: Sequence[Trial]) -> None:
        sizes.append(len(trials))
        raise OutOfMemoryError("too large", [], trials)

    failures: dict[str, str] = {}
    trials.run_within_memory(attempt, [svm("a"), svm("b")], failures)
    assert (sizes, set(failures)) == ([2, 1, 1], {"a", "b"})
