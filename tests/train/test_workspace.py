"""The folder of an unfinished run: who may take it, and what is said about it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pintag.errors import TrainingError
from train.config import HeadConfig, ScalingConfig, TrainConfig

if TYPE_CHECKING:
    from train.workspace import Workspace

pytestmark = pytest.mark.ray


def place(out: Path) -> Workspace:
    """The workspace of a bundle at `out`."""
    from train.workspace import Workspace

    return Workspace(out)


def claim(
    out: Path, config: TrainConfig | None = None, *, resume: bool = False, overwrite: bool = False
) -> None:
    """Claim the workspace of `out` for a data set called "data"."""
    place(out).claim(config or TrainConfig(), "data", resume=resume, overwrite=overwrite)


def test_an_unfinished_run_is_not_begun_again_by_accident(tmp_path: Path) -> None:
    claim(tmp_path / "out")
    with pytest.raises(TrainingError, match="--resume"):
        claim(tmp_path / "out")
    claim(tmp_path / "out", resume=True)
    (tmp_path / "out.run" / "old").touch()
    claim(tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out.run" / "old").exists()


def test_a_bundle_is_replaced_only_when_told(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bundle.json").touch()
    with pytest.raises(TrainingError, match="--overwrite"):
        claim(tmp_path / "out")
    claim(tmp_path / "out", overwrite=True)


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    with pytest.raises(TrainingError, match="is no bundle"):
        claim(tmp_path / "photographs", overwrite=True)
    assert (tmp_path / "photographs").is_dir()


def test_resuming_another_request_names_what_differs(tmp_path: Path) -> None:
    claim(tmp_path / "out")
    other = TrainConfig(seed=1, head=HeadConfig(epochs=3))
    with pytest.raises(TrainingError, match=r"different: head\.epochs, seed"):
        claim(tmp_path / "out", other, resume=True)


def test_a_run_may_be_resumed_on_more_workers(tmp_path: Path) -> None:
    claim(tmp_path / "out")
    claim(tmp_path / "out", TrainConfig(scaling=ScalingConfig(num_workers=4)), resume=True)


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to resume"):
        claim(tmp_path / "out", resume=True)


def test_a_place_that_cannot_be_written_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"out\.run: cannot be written: Not a directory"):
        claim(tmp_path / "file" / "out")


def test_too_small_a_disk_is_found_before_it_is_full(tmp_path: Path) -> None:
    from train.workspace import check_space

    check_space(tmp_path, 1)
    beyond = shutil.disk_usage(tmp_path).total * 2
    with pytest.raises(TrainingError, match=r"MiB are needed and .* MiB are free"):
        check_space(tmp_path, beyond)


def test_messages_of_the_workers_reach_the_watcher(tmp_path: Path) -> None:
    from train.loop import PROGRESS

    claim(tmp_path / "out")
    seen: list[dict[str, object]] = []
    with (
        place(tmp_path / "out").watching(seen.append),
        (tmp_path / "out.run" / PROGRESS).open("a") as file,
    ):
        for number in range(3):
            text = json.dumps({"number": number}) + "\n"
            file.write(text[:4])
            file.flush()
            file.write(text[4:])
            file.flush()
    assert seen == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_a_failed_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    claim(tmp_path / "out")
    with pytest.raises(ValueError, match="early"), place(tmp_path / "out").kept_when_begun():
        raise ValueError("early")
    assert list(tmp_path.iterdir()) == []
