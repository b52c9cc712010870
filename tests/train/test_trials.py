"""Trials on Ray Tune: each outcome is kept, a bad one harms no neighbour, none is made twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import cluster
from tests.conftest import wait_for
from train import learners, trials
from train.config import SvmConfig, TrainConfig
from train.learners import Task
from train.outcomes import Outcomes
from train.trials import OutOfMemoryError, Resources, RowsOf, Trial

pytestmark = [pytest.mark.ray, pytest.mark.keras]

COUNT = 24
TARGETS = np.arange(COUNT) % 2
PLACES = np.arange(COUNT)


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with cluster.connected():
        yield


@pytest.fixture(scope="module")
def data() -> RowsOf:
    pixels = np.random.default_rng(0).integers(0, 100, (COUNT, 32, 32, 3), np.uint8)
    pixels[TARGETS == 1] += 100
    features = np.stack([TARGETS, 1 - TARGETS], axis=1).astype(np.float32)
    return RowsOf({"pixels": pixels, "features": features}, TARGETS, 2)


@pytest.fixture
def outcomes(tmp_path: Path) -> Outcomes:
    return Outcomes(tmp_path / "outcomes")


def svm(name: str, sees: str = "pixels", gamma: float = 0.01) -> Trial:
    parts = (PLACES[:12], PLACES[12:18], PLACES[18:])
    return Trial(name, SvmConfig(gamma=gamma), (sees,), *parts)


def network(name: str, epochs: int) -> Trial:
    config = TrainConfig.model_validate(
        {
            "head": {"widths": [4], "epochs": epochs, "batch_size": 1},
            "backbone": {"weights": "none"},
        }
    )
    return Trial(name, config, ("features",), PLACES[:12], PLACES[12:18], PLACES[18:])


def run(wanted: list[Trial], data: RowsOf, outcomes: Outcomes, **options: Any) -> dict[str, str]:
    return trials.run(wanted, data, outcomes, Resources(cpus=0.5), **options)


def test_trials_do_what_learners_do_in_one_process(data: RowsOf, outcomes: Outcomes) -> None:
    wanted = [svm("a"), network("b", 2), svm("c", gamma=0.1)]
    told: list[tuple[float, int]] = []
    assert run(wanted, data, outcomes, progress=lambda *each: told.append(each)) == {}
    assert told[-1] == (3, 3)
    for trial in wanted:
        (rows,) = (data.arrays[name] for name in trial.sees)
        task = Task(rows, TARGETS, 2, trial.train, trial.validation, trial.test)
        fit: Any = (
            learners.fit_svm if isinstance(trial.learner, SvmConfig) else learners.fit_network
        )
        np.testing.assert_allclose(
            outcomes.read(trial.name).test, fit(trial.learner, task).test, atol=1e-5
        )
    assert [each.name for each in outcomes.folder.parent.iterdir()] == ["outcomes"]


def test_a_trial_that_fails_is_told_and_harms_no_other(data: RowsOf, outcomes: Outcomes) -> None:
    # Features are no pictures: the machine cannot see them.
    failures = run([svm("bad", sees="features"), svm("good")], data, outcomes)
    assert list(failures) == ["bad"]
    assert "Error: " in failures["bad"]
    assert "good" in outcomes
    assert "bad" not in outcomes


def test_what_has_an_outcome_is_not_tried_again(data: RowsOf, outcomes: Outcomes) -> None:
    run([svm("a")], data, outcomes)
    before = (outcomes.folder / "a.npz").stat().st_mtime_ns
    assert run([svm("a"), svm("b")], data, outcomes) == {}
    assert (outcomes.folder / "a.npz").stat().st_mtime_ns == before
    assert "b" in outcomes
    # What failed is: the reason may have gone.
    assert run([svm("bad", sees="features")], data, outcomes) != {}
    assert run([svm("bad")], data, outcomes) == {}


def test_a_trial_whose_process_dies_is_tried_again(data: RowsOf, outcomes: Outcomes) -> None:
    killed = threading.Event()

    def kill() -> None:
        def found() -> list[psutil.Process]:
            mine = psutil.Process().children(recursive=True)
            return [each for each in mine if "ImplicitFunc" in " ".join(each.cmdline())]

        wait_for(found, 120, "a trial's process")
        os.kill(found()[0].pid, signal.SIGKILL)
        killed.set()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert run([network("a", 300)], data, outcomes) == {}
    killer.join(120)
    assert killed.is_set()
    assert len(outcomes.read("a").history) == 300


# Out of memory. How Ray itself ends a process was tried by hand (docs/benchmarks.md): it depends on
# what else the machine does.


class Memory:
    """Attempts that run out of memory when trials of these sizes run, two at once."""

    def __init__(self, room: int, **sizes: int) -> None:
        self.room, self.sizes = room, sizes
        self.done: list[str] = []
        self.attempts: list[list[str]] = []

    def __call__(self, trials: Sequence[Trial]) -> None:
        self.attempts.append([trial.name for trial in trials])
        for at in range(0, len(trials), 2):
            running = trials[at : at + 2]
            if sum(self.sizes[trial.name] for trial in running) > self.room:
                raise OutOfMemoryError("no room", running, trials[at + 2 :])
            self.done += [trial.name for trial in running]


def test_a_trial_that_has_no_room_fails_alone() -> None:
    memory, failures = Memory(10, a=2, b=2, huge=11, c=2, d=2), {}
    trials.within_memory(memory, [svm(name) for name in memory.sizes], failures)
    assert failures == {"huge": "no room"}
    assert memory.done == ["a", "b", "c", "d"]
    assert memory.attempts == [["a", "b", "huge", "c", "d"], ["huge"], ["c"], ["d"]]


def test_trials_that_have_no_room_together_are_done_one_by_one() -> None:
    memory, failures = Memory(10, a=6, b=6, c=6, d=3), {}
    trials.within_memory(memory, [svm(name) for name in memory.sizes], failures)
    assert failures == {}
    assert memory.done == ["a", "b", "c", "d"]


def test_trials_are_done_one_by_one_where_none_is_known_to_have_begun() -> None:
    asked: list[int] = []

    def attempt(some: Sequence[Trial]) -> None:
        asked.append(len(some))
        raise OutOfMemoryError("no room", [], some)

    failures: dict[str, str] = {}
    trials.within_memory(attempt, [svm("a"), svm("b")], failures)
    assert (asked, set(failures)) == ([2, 1, 1], {"a", "b"})
