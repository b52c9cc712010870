"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pintag.files import atomic_folder, write_atomic


def contents(root: Path) -> dict[str, str]:
    """Every file below `root`, hidden ones included."""
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder that stands already."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    return folder


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "model"
    with atomic_folder(target) as made:
        (made / "new.txt").write_text("new")
        assert not target.exists()
    assert contents(tmp_path) == {"deep/down/model/new.txt": "new"}


def test_the_folder_that_stood_there_is_replaced_at_the_end(tmp_path: Path, old: Path) -> None:
    with atomic_folder(old) as made:
        (made / "new.txt").write_text("new")
        assert contents(old) == {"old.txt": "old"}
    assert contents(tmp_path) == {"model/new.txt": "new"}
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_exception_the_old_folder_stands(
    tmp_path: Path, old: Path, error: type[BaseException]
) -> None:
    def half() -> None:
        with atomic_folder(old) as made:
            (made / "new.txt").write_text("half")
            raise error

    with pytest.raises(error):
        half()
    assert contents(tmp_path) == {"model/old.txt": "old"}
    assert list(tmp_path.iterdir()) == [old]


def test_after_an_exception_there_is_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), atomic_folder(tmp_path / "model"):
        raise ValueError("stop")
    assert not list(tmp_path.iterdir())


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, old: Path
) -> None:
    with pytest.raises(FileNotFoundError), atomic_folder(old) as made:
        shutil.rmtree(made)
    assert contents(tmp_path) == {"model/old.txt": "old"}
    assert list(tmp_path.iterdir()) == [old]


def test_the_folder_a_link_points_to_is_replaced_and_the_link_stays(
    tmp_path: Path, old: Path
) -> None:
    link = tmp_path / "current"
    link.symlink_to(old)
    with atomic_folder(link) as made:
        (made / "new.txt").write_text("new")
    assert link.is_symlink()
    assert contents(old) == {"new.txt": "new"}
    assert sorted(tmp_path.iterdir()) == [link, old]


def test_a_file_is_no_folder_to_replace(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.write_text("mine")
    with pytest.raises(NotADirectoryError, match="model"), atomic_folder(target):
        pytest.fail("the block must not run")
    assert contents(tmp_path) == {"model": "mine"}


def test_a_new_folder_and_a_new_file_are_readable_by_all(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model") as made:
        write_atomic(made / "file.txt", "")
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "model" / "file.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("data", [b"gr\xc3\xbcn\r\n", "grün\r\n"])
def test_a_file_is_written_or_replaced_byte_for_byte(tmp_path: Path, data: bytes | str) -> None:
    path = tmp_path / "file.txt"
    for _ in range(2):
        write_atomic(path, data)
        assert path.read_bytes() == b"gr\xc3\xbcn\r\n"
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_a_write_that_fails_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file.txt"
    path.write_text("old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert contents(tmp_path) == {"file.txt": "old"}


def test_a_folder_is_no_file_to_replace(tmp_path: Path, old: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_atomic(old, "new")
    assert contents(tmp_path) == {"model/old.txt": "old"}
