"""A fit: equal with one and two workers, unaffected by a killed worker, and resumable."""

from __future__ import annotations

import json
import math
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.commands import run_here, running
from tests.conftest import CONFIGS, wait_for

pytestmark = pytest.mark.ray

# Epochs of a fit, and of one that is disturbed after its second epoch.
EPOCHS, MANY_EPOCHS = 8, 30
# A small MobileNet with random weights is fast. Its accuracy does not matter here.
SMALL = (
    CONFIGS / "train/mobilenet.yaml",
    "backbone.weights=none",
    "backbone.alpha=0.25",
    "input_size=32",
    "head.widths=[32]",
    "head.learning_rate=1e-3",
    f"head.epochs={EPOCHS}",
    # Save a checkpoint after every epoch, so that a run can be resumed.
    "scaling.checkpoint_seconds=0",
)


@pytest.fixture(scope="module", autouse=True)
def _short_polling(ray_cluster: None) -> Iterator[None]:
    """Poll the workers often, because an epoch takes less time than Ray's polling interval."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
        yield


def history(out: Path) -> list[dict[str, Any]]:
    """Return the training history of a bundle."""
    rows: list[dict[str, Any]] = json.loads((out / "history.json").read_text())
    return rows


def manifest(out: Path) -> dict[str, Any]:
    """Return the manifest of a bundle."""
    content: dict[str, Any] = json.loads((out / "bundle.json").read_text())
    return content


def step_losses(out: Path) -> list[float]:
    """Return the loss of each training step of a bundle."""
    return [loss for row in history(out) for loss in row["step_losses"]]


def epochs_done(out: Path) -> int:
    """Return the number of epochs that an unfinished run has reported."""
    progress = out.with_name(f"{out.name}.run") / "progress.jsonl"
    if not progress.exists():
        return 0
    return sum('"training"' in line for line in progress.read_text().splitlines())


@pytest.fixture(scope="module")
def undisturbed(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a fit on one worker without any disturbance."""
    return fit(sample_dir, tmp_path_factory.mktemp("fit") / "undisturbed")


def fit(sample_dir: Path, out: Path, *overrides: str) -> Path:
    """Fit the small network and return its bundle."""
    done = run_here("train", *SMALL, "--data", sample_dir, "--out", out, *overrides)
    assert done.returncode == 0, done.stderr
    return out


def test_two_workers_make_the_same_steps_as_one(
    sample_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Two workers with 16 images each have the loss of one worker with 32, at every step."""
    out = fit(sample_dir, tmp_path / "two", "scaling.num_workers=2")
    one, two = step_losses(undisturbed), step_losses(out)
    assert len(one) == EPOCHS * 5
    assert two == pytest.approx(one, abs=1e-4)


def kill_worker(out: Path, killed: list[int]) -> None:
    """Kill the worker of a run after its second epoch."""
    wait_for(lambda: epochs_done(out) >= 2, 300, "two epochs")
    for child in psutil.Process().children(recursive=True):
        if "RayTrainWorker" in "".join(child.cmdline()):
            child.kill()
            killed.append(epochs_done(out))


@pytest.mark.slow
def test_a_killed_worker_costs_no_epoch(
    sample_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Ray Train restarts a killed worker from the last checkpoint, and the result is the same."""
    out, killed = tmp_path / "killed", list[int]()
    killer = threading.Thread(target=kill_worker, args=(out, killed), daemon=True)
    killer.start()
    fit(sample_dir, out, f"head.epochs={MANY_EPOCHS}")
    killer.join(60)
    assert killed
    assert max(killed) < MANY_EPOCHS
    assert [row["epoch"] for row in history(out)] == list(range(1, MANY_EPOCHS + 1))
    losses = step_losses(undisturbed)
    assert step_losses(out)[: len(losses)] == pytest.approx(losses, abs=1e-4)


@pytest.mark.slow
def test_an_interrupted_run_is_resumed(sample_dir: Path, undisturbed: Path, tmp_path: Path) -> None:
    """SIGTERM ends a run with exit code 1 and no bundle; --resume then writes the same bundle."""
    out = tmp_path / "interrupted"
    arguments = (
        "train", *SMALL, f"head.epochs={MANY_EPOCHS}", "--data", sample_dir, "--out", out,
    )  # fmt: skip
    with running(*arguments) as process:
        wait_for(lambda: epochs_done(out) >= 2 or process.poll() is not None, 300, "two epochs")
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "--resume" in stderr
    assert not out.exists()
    assert 2 <= epochs_done(out) < MANY_EPOCHS
    refused = run_here(*arguments)
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    other = run_here(*arguments, "--resume", "head.batch_size=8")
    assert other.returncode == 1
    assert "head.batch_size" in other.stderr
    resumed = run_here(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert [row["epoch"] for row in history(out)] == list(range(1, MANY_EPOCHS + 1))
    losses = step_losses(undisturbed)
    assert step_losses(out)[: len(losses)] == pytest.approx(losses, abs=1e-4)
    assert not out.with_name("interrupted.run").exists()


def test_harmful_fine_tuning_is_discarded(
    sample_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """The best epoch of all phases is kept, so a ruinous learning rate changes nothing."""
    out = fit(
        sample_dir, tmp_path / "ruined", "fine_tune.epochs=2", "fine_tune.learning_rate=10",
        "fine_tune.unfreeze=13",
    )  # fmt: skip
    assert [row["epoch"] for row in history(out) if row["phase"] == "fine_tune"] == [1, 2]
    assert manifest(out)["version"] == manifest(undisturbed)["version"]


def test_all_options_of_a_fit_work_together(sample_dir: Path, tmp_path: Path) -> None:
    """Two workers, mixed precision, dropout, smoothing, class weights, views, both phases."""
    out = fit(
        sample_dir, tmp_path / "all", "head.dropout=0.1", "head.class_weights=balanced",
        "head.early_stopping=2", "head.label_smoothing=0.1", "head.views=2", "fine_tune.epochs=2",
        "fine_tune.unfreeze=1", "fine_tune.schedule=cosine", "scaling.mixed_precision=true",
        "scaling.num_workers=2",
    )  # fmt: skip
    rows = history(out)
    assert {row["phase"] for row in rows} == {"head", "fine_tune"}
    assert all(math.isfinite(loss) for row in rows for loss in row["step_losses"])


def test_missing_weights_are_named_before_a_worker_starts(sample_dir: Path, tmp_path: Path) -> None:
    done = run_here(
        "train", *SMALL, "backbone.weights=missing.h5", "--data", sample_dir,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 1
    assert "missing.h5" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_a_disk_ends_a_fit_that_can_be_resumed(
    sample_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """The folder of cached features becomes a file, as a disk may become full."""
    cache, out = tmp_path / "cache", tmp_path / "out"
    fit(sample_dir, tmp_path / "first", "head.epochs=1", f"cache_dir={cache}")
    (rows,) = cache.glob("*/train")
    shutil.rmtree(rows)
    rows.touch()
    command = ("train", *SMALL, "--data", sample_dir, "--out", out, f"cache_dir={cache}")
    done = run_here(*command)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: {rows}: File exists; no bundle is written; {out}.run keeps the run, and the same "
        "command with --resume continues it"
    )
    rows.unlink()
    resumed = run_here(*command, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert step_losses(out) == pytest.approx(step_losses(undisturbed), abs=1e-4)


def test_a_loss_that_is_no_number_ends_the_fit_and_keeps_the_last_good_epoch(
    sample_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "diverged"
    done = run_here(
        "train", *SMALL, "--data", sample_dir, "--out", out,
        "head.epochs=2", "fine_tune.epochs=3", "fine_tune.learning_rate=1e30",
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: fine_tune.learning_rate: the loss is " in done.stderr
    assert f"no bundle is written; {out}.run keeps the state after epoch 2" in done.stderr
    assert not out.exists()
    assert (tmp_path / "diverged.run" / "best.weights.h5").exists()
