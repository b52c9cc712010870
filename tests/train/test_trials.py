"""Trials on Ray Tune: each outcome is kept, a bad one harms no neighbour, none is made twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.conftest import wait_for
from train import cluster, learners, trials
from train.config import SvmConfig, TrainConfig
from train.learners import Outcome, Task
from train.trials import Outcomes, Resources, RowsOf, Trial

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


def test_an_outcome_comes_back_as_it_went(outcomes: Outcomes) -> None:
    made = Outcome(
        validation=np.ones((3, 2), np.float32),
        test=np.zeros((1, 2), np.float32),
        training_accuracy=0.5,
        parameters=7,
        history=({"epoch": 1, "loss": 0.25},),
        seconds=1.5,
    )
    outcomes.write("a", trials.encode(made))
    assert "a" in outcomes
    assert "b" not in outcomes
    found = outcomes.read("a")
    np.testing.assert_array_equal(found.validation, made.validation)
    assert (found.history, found.seconds, found.parameters) == (made.history, 1.5, 7)


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
