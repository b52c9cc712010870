"""The folder of a study: when it may be used, and what it stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from pintag.core.errors import TrainingError
from pintag.train.study.study_store import StudyStore

pytestmark = pytest.mark.ray

REQUEST = {"config": {"title": "a", "seed": 0}, "data": "f00"}


def claim(out: Path, request: dict[str, object] | None = None, **options: bool) -> StudyStore:
    store = StudyStore(out)
    store.claim(
        request or dict(REQUEST),
        resume=options.get("resume", False),
        overwrite=options.get("overwrite", False),
    )
    return store


def test_a_study_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    claim(tmp_path / "out").record("stages", "trials", 1.0)
    with pytest.raises(TrainingError, match=r"holds a study; give --resume .* or --overwrite"):
        claim(tmp_path / "out")
    assert claim(tmp_path / "out", resume=True).recorded("stages") == {"trials": 1.0}
    assert claim(tmp_path / "out", overwrite=True).recorded("stages") == {}


@pytest.mark.parametrize("name", ["request.json", "progress.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"\xff"])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    claim(tmp_path / "out").record("stages", "trials", 1.0)
    (tmp_path / "out" / name).write_bytes(content)
    with pytest.raises(TrainingError, match=rf"{name}: damaged: .* --overwrite"):
        claim(tmp_path / "out", resume=True).recorded("stages")


def test_only_the_same_study_can_be_resumed(tmp_path: Path) -> None:
    claim(tmp_path / "out")
    changed: dict[str, object] = {"config": {"title": "a", "seed": 1}, "data": "f00"}
    with pytest.raises(TrainingError, match=r"other values of config\.seed;"):
        claim(tmp_path / "out", changed, resume=True)


def test_a_study_is_begun_if_there_is_none_to_resume(tmp_path: Path) -> None:
    assert claim(tmp_path / "out", resume=True).is_begun


def test_a_folder_with_other_files_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    for overwrite in (False, True):
        with pytest.raises(TrainingError, match="is not a study"):
            claim(tmp_path, overwrite=overwrite)
    assert (tmp_path / "precious").exists()


def test_an_empty_folder_can_be_used(tmp_path: Path) -> None:
    claim(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot be written"):
        claim(tmp_path / "file" / "out")


def test_the_seconds_of_a_stage_add_up_even_when_it_fails(tmp_path: Path) -> None:
    store = claim(tmp_path / "out")
    with store.timed("trials"):
        pass
    first = store.recorded("stages")["trials"]
    with pytest.raises(ValueError, match="oh"), store.timed("trials"):
        raise ValueError("oh")
    assert StudyStore(tmp_path / "out").recorded("stages")["trials"] > first
