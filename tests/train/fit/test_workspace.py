"""The folder of an unfinished run: when it may be used, and the progress messages in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pintag.core.errors import TrainingError
from pintag.train.config import HeadConfig, ScalingConfig, TrainConfig
from tests.pintag import bundles

if TYPE_CHECKING:
    from pintag.train.fit.workspace import Workspace

pytestmark = pytest.mark.ray


def workspace(out: Path) -> Workspace:
    """Return the workspace of a bundle at `out`."""
    from pintag.train.fit.workspace import Workspace

    return Workspace(out)


def claim(
    out: Path, config: TrainConfig | None = None, *, resume: bool = False, overwrite: bool = False
) -> None:
    """Claim the workspace of `out` for a data set called "data"."""
    workspace(out).claim(config or TrainConfig(), "data", resume=resume, overwrite=overwrite)


def test_an_unfinished_run_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    claim(tmp_path / "out")
    with pytest.raises(TrainingError, match="--resume"):
        claim(tmp_path / "out")
    claim(tmp_path / "out", resume=True)
    (tmp_path / "out.run" / "old").touch()
    claim(tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out.run" / "old").exists()


def test_only_one_process_writes_a_run(tmp_path: Path) -> None:
    from pintag.train.fit.workspace import locked

    out = tmp_path / "runs" / "out"
    with locked(out):
        with (
            pytest.raises(TrainingError, match="out: another process is writing it"),
            locked(out),
        ):
            pass
        with locked(out.with_name("other")):
            pass
    with locked(out):
        pass
    assert list(out.parent.iterdir()) == []


def test_a_run_whose_folder_cannot_be_written_is_named(tmp_path: Path) -> None:
    from pintag.train.fit.workspace import locked

    (tmp_path / "file").touch()
    with (
        pytest.raises(TrainingError, match=r"file/out: cannot be written: "),
        locked(tmp_path / "file" / "out"),
    ):
        pass


def test_a_bundle_is_replaced_only_with_overwrite(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bundle.json").touch()
    with pytest.raises(TrainingError, match="--overwrite"):
        claim(tmp_path / "out")
    claim(tmp_path / "out", overwrite=True)


def test_a_folder_that_is_not_a_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    with pytest.raises(TrainingError, match="is not a bundle"):
        claim(tmp_path / "photographs", overwrite=True)
    assert (tmp_path / "photographs").is_dir()


def test_resuming_with_other_settings_names_those_that_differ(tmp_path: Path) -> None:
    claim(tmp_path / "out")
    other = TrainConfig(seed=1, head=HeadConfig(epochs=3))
    with pytest.raises(TrainingError, match=r"other values of head\.epochs, seed;"):
        claim(tmp_path / "out", other, resume=True)


def test_a_run_may_be_resumed_on_more_workers(tmp_path: Path) -> None:
    claim(tmp_path / "out")
    claim(tmp_path / "out", TrainConfig(scaling=ScalingConfig(num_workers=4)), resume=True)


def test_a_run_is_begun_if_there_is_none_to_resume(tmp_path: Path) -> None:
    """So that a job can repeat one command."""
    claim(tmp_path / "out", resume=True)
    assert workspace(tmp_path / "out").is_begun


def test_a_bundle_is_never_replaced_by_resuming(tmp_path: Path) -> None:
    bundles.write(tmp_path / "out", "one")
    assert workspace(tmp_path / "out").is_complete
    with pytest.raises(TrainingError, match="out exists"):
        claim(tmp_path / "out", resume=True)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"\xff"])
def test_a_damaged_request_is_one_line(tmp_path: Path, content: bytes) -> None:
    claim(tmp_path / "out")
    path = tmp_path / "out.run" / "request.json"
    path.write_bytes(content)
    with pytest.raises(TrainingError) as caught:
        claim(tmp_path / "out", resume=True)
    remedy = "start again with --overwrite, without --resume"
    assert str(caught.value) == f"{path}: damaged: not a JSON object; {remedy}"
    claim(tmp_path / "out", overwrite=True)


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"out\.run: cannot be written: Not a directory"):
        claim(tmp_path / "file" / "out")


def test_a_disk_that_is_too_small_is_refused_before_it_is_full(tmp_path: Path) -> None:
    from pintag.train.fit.workspace import check_space

    remedy = "choose another --out"
    check_space(tmp_path, 1, remedy)
    beyond = shutil.disk_usage(tmp_path).total * 2
    with pytest.raises(
        TrainingError, match=rf"MB are needed, but only .*MB are free; free .*, or {remedy}"
    ):
        check_space(tmp_path, beyond, remedy)
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=rf"cannot be written: Not a directory; {remedy}"):
        check_space(tmp_path / "file" / "folder", 1, remedy)


def save_checkpoint(folder: Path, epochs: int) -> None:
    """Save the checkpoint of a run after some epochs."""
    from pintag.train.fit import checkpoint
    from pintag.train.fit.checkpoint import TrainingState

    weights = [np.arange(1000, dtype=np.float32)]
    with checkpoint.save(TrainingState(epoch=epochs, weights=weights), folder.parent) as saved:
        shutil.copytree(saved.path, folder)


def test_a_run_resumes_from_its_newest_complete_checkpoint(tmp_path: Path) -> None:
    """A kill or a full disk leaves an incomplete one, or an empty list of Ray Train."""
    from pintag.train.fit import checkpoint

    claim(tmp_path / "out")
    run = workspace(tmp_path / "out")
    assert run.keep_newest_checkpoint() is None
    ray_run = run.folder / "ray"
    ray_run.mkdir()
    for epochs in (1, 2, 3):
        save_checkpoint(ray_run / f"checkpoint_{epochs}", epochs)
    arrays = ray_run / "checkpoint_3" / "arrays.npz"
    arrays.write_bytes(arrays.read_bytes()[:-100])
    (ray_run / "checkpoint_manager_snapshot.json").touch()
    for _ in range(2):
        kept = run.keep_newest_checkpoint()
        assert kept
        assert checkpoint.load(kept).epoch == 2
        assert sorted(path.name for path in run.folder.iterdir()) == ["checkpoint", "request.json"]


def test_an_earlier_checkpoint_outlives_an_attempt_without_one(tmp_path: Path) -> None:
    """It also outlives an attempt that fails before Ray Train starts."""
    claim(tmp_path / "out")
    run = workspace(tmp_path / "out")
    save_checkpoint(run.folder / "checkpoint", 1)
    (run.folder / "ray" / "checkpoint_2").mkdir(parents=True)
    assert run.keep_newest_checkpoint() == run.folder / "checkpoint"
    with pytest.raises(KeyboardInterrupt), run.removed_unless_started():
        raise KeyboardInterrupt
    assert run.keep_newest_checkpoint() == run.folder / "checkpoint"


def test_an_empty_folder_is_no_run(tmp_path: Path) -> None:
    """A full disk, or a kill, may prevent that its request is written."""
    (tmp_path / "out.run").mkdir()
    claim(tmp_path / "out")


def test_a_folder_that_is_no_run_is_replaced_only_with_overwrite(tmp_path: Path) -> None:
    (tmp_path / "out.run").mkdir()
    (tmp_path / "out.run" / "file").touch()
    with pytest.raises(TrainingError, match=r"out\.run exists and is not a run that can be"):
        claim(tmp_path / "out")
    claim(tmp_path / "out", overwrite=True)


def test_messages_of_the_workers_are_reported(tmp_path: Path) -> None:
    from pintag.train.fit.workspace import PROGRESS

    claim(tmp_path / "out")
    reported: list[dict[str, object]] = []
    with (
        workspace(tmp_path / "out").reporting(reported.append),
        (tmp_path / "out.run" / PROGRESS).open("a") as file,
    ):
        for number in range(3):
            text = json.dumps({"number": number}) + "\n"
            file.write(text[:4])
            file.flush()
            file.write(text[4:])
            file.flush()
    assert reported == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_a_run_that_fails_before_it_starts_leaves_no_files(tmp_path: Path) -> None:
    claim(tmp_path / "out")
    with (
        pytest.raises(ValueError, match="early"),
        workspace(tmp_path / "out").removed_unless_started(),
    ):
        raise ValueError("early")
    assert list(tmp_path.iterdir()) == []
