"""A fit is the same on one worker and on two, survives a death, and can be interrupted."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import CONFIGS, PINTAG, pintag, wait_for

pytestmark = pytest.mark.ray

# A MobileNet of random weights, small enough to be quick: what it learns does not matter here.
SMALL = (
    CONFIGS / "train/mobilenet.yaml",
    "backbone.weights=none",
    "backbone.alpha=0.25",
    "input_size=32",
    "head.widths=[32]",
    "head.learning_rate=1e-3",
    "head.epochs=8",
    # A checkpoint at each epoch, so that there is one to go on from.
    "scaling.checkpoint_seconds=0",
)


@pytest.fixture(scope="module", autouse=True)
def asked_often() -> Iterator[None]:
    """An epoch here is over long before Ray would ask its worker for news."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
        yield


def history(out: Path) -> list[dict[str, Any]]:
    """The rows of a bundle's training history."""
    rows: list[dict[str, Any]] = json.loads((out / "history.json").read_text())
    return rows


def manifest(out: Path) -> dict[str, Any]:
    """A bundle's manifest."""
    content: dict[str, Any] = json.loads((out / "bundle.json").read_text())
    return content


def step_losses(out: Path) -> list[float]:
    """The loss at each step of a bundle's training."""
    return [loss for row in history(out) for loss in row["step_losses"]]


def epochs_done(out: Path) -> int:
    """How many epochs the unfinished run of a bundle has reported."""
    progress = out.with_name(f"{out.name}.run") / "progress.jsonl"
    if not progress.exists():
        return 0
    return sum('"training"' in line for line in progress.read_text().splitlines())


@contextmanager
def training(out: Path, sample_dir: Path, *overrides: str) -> Iterator[subprocess.Popen[str]]:
    """`pintag train` in the background, past its second epoch."""
    with subprocess.Popen(
        [
            PINTAG,
            "train",
            *map(str, SMALL),
            "--data",
            str(sample_dir),
            "--out",
            str(out),
            *overrides,
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": os.environ["PINTAG_TEST_CACHE"]},
    ) as process:
        wait_for(lambda: epochs_done(out) >= 2 or process.poll() is not None, 120, "two epochs")
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield process


@pytest.fixture(scope="module")
def undisturbed(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a fit on one worker that nothing happened to."""
    out = tmp_path_factory.mktemp("fit") / "undisturbed"
    done = pintag("train", *SMALL, "--data", sample_dir, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_two_workers_make_the_steps_of_one(
    sample_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Two workers with 16 images each have the loss of one with 32, at every step."""
    done = pintag(
        "train", *SMALL, "scaling.num_workers=2", "--data", sample_dir, "--out", tmp_path / "two"
    )
    assert done.returncode == 0, done.stderr
    one, two = step_losses(undisturbed), step_losses(tmp_path / "two")
    assert len(one) == 8 * 5
    assert two == pytest.approx(one, abs=1e-4)


def test_a_killed_worker_costs_no_epoch(
    sample_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Ray Train restarts a killed worker from the last checkpoint, and the run ends the same."""
    out = tmp_path / "killed"
    with training(out, sample_dir, "head.epochs=60") as process:
        workers = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if "RayTrainWorker" in "".join(child.cmdline())
        ]
        assert workers
        for worker in workers:
            worker.kill()
        assert process.wait(200) == 0
    rows = history(out)
    assert [row["epoch"] for row in rows] == list(range(1, 61))
    assert step_losses(out)[:40] == pytest.approx(step_losses(undisturbed), abs=1e-4)


def test_an_interrupted_run_is_resumed(sample_dir: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Ctrl-C ends a run with exit code 1 and no bundle; --resume makes the same bundle of it."""
    out = tmp_path / "interrupted"
    with training(out, sample_dir, "head.epochs=60") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr
        said = process.stderr.read()
        assert process.wait(60) == 1
    assert "--resume" in said
    assert not out.exists()
    before = epochs_done(out)
    assert 2 <= before < 60
    arguments = ("train", *SMALL, "head.epochs=60", "--data", sample_dir, "--out", out)
    refused = pintag(*arguments)
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    other = pintag(*arguments, "--resume", "head.batch_size=8")
    assert other.returncode == 1
    assert "head.batch_size" in other.stderr
    resumed = pintag(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert [row["epoch"] for row in history(out)] == list(range(1, 61))
    assert step_losses(out)[:40] == pytest.approx(step_losses(undisturbed), abs=1e-4)
    assert not out.with_name("interrupted.run").exists()


def test_fine_tuning_that_does_harm_is_thrown_away(
    sample_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """The best epoch is that of all phases, backbone included: a ruinous rate changes nothing."""
    out = tmp_path / "ruined"
    done = pintag(
        "train", *SMALL, "--data", sample_dir, "--out", out, "fine_tune.epochs=2",
        "fine_tune.learning_rate=10", "fine_tune.unfreeze=13",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["epoch"] for row in history(out) if row["phase"] == "fine_tune"] == [1, 2]
    assert manifest(out)["version"] == manifest(undisturbed)["version"]


def test_every_option_of_a_fit_works_together(sample_dir: Path, tmp_path: Path) -> None:
    """Two workers, mixed precision, dropout, smoothing, class weights, views, both phases."""
    out = tmp_path / "all"
    done = pintag(
        "train", *SMALL, "--data", sample_dir, "--out", out, "head.dropout=0.1",
        "head.class_weights=balanced", "head.early_stopping=2", "head.label_smoothing=0.1",
        "head.views=2", "fine_tune.epochs=2", "fine_tune.unfreeze=1", "fine_tune.schedule=cosine",
        "scaling.mixed_precision=true", "scaling.num_workers=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = history(out)
    assert {row["phase"] for row in rows} == {"head", "fine_tune"}
    assert all(math.isfinite(loss) for row in rows for loss in row["step_losses"])


def test_weights_that_cannot_be_had_are_named_before_a_worker_starts(
    sample_dir: Path, tmp_path: Path
) -> None:
    done = pintag(
        "train", *SMALL, "backbone.weights=missing.h5", "--data", sample_dir,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 1
    assert "missing.h5" in done.stderr
    assert list(tmp_path.iterdir()) == []
