"""Atomic writes of files and folders."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from pintag.core import files
from pintag.core.errors import DataError
from pintag.core.files import atomic_folder, write_atomic


def contents(root: Path) -> dict[str, str]:
    """Every file below `root`, hidden ones included."""
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An existing folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    return folder


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "model"
    with atomic_folder(target) as created:
        (created / "new.txt").write_text("new")
        assert not target.exists()
    assert contents(tmp_path) == {"deep/down/model/new.txt": "new"}


def test_the_old_folder_is_replaced_when_the_block_ends(tmp_path: Path, old: Path) -> None:
    with atomic_folder(old) as created:
        (created / "new.txt").write_text("new")
        assert contents(old) == {"old.txt": "old"}
    assert contents(tmp_path) == {"model/new.txt": "new"}
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_exception_the_old_folder_is_unchanged(
    tmp_path: Path, old: Path, error: type[BaseException]
) -> None:
    def half() -> None:
        with atomic_folder(old) as created:
            (created / "new.txt").write_text("half")
            raise error

    with pytest.raises(error):
        half()
    assert contents(tmp_path) == {"model/old.txt": "old"}
    assert list(tmp_path.iterdir()) == [old]


def test_after_an_exception_there_is_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), atomic_folder(tmp_path / "model"):
        raise ValueError("stop")
    assert not list(tmp_path.iterdir())


def test_the_old_folder_is_restored_when_the_rename_fails(tmp_path: Path, old: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_folder(old) as created:
        shutil.rmtree(created)
    assert contents(tmp_path) == {"model/old.txt": "old"}
    assert list(tmp_path.iterdir()) == [old]


def test_the_target_of_a_symbolic_link_is_replaced(tmp_path: Path, old: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(old)
    with atomic_folder(link) as created:
        (created / "new.txt").write_text("new")
    assert link.is_symlink()
    assert contents(old) == {"new.txt": "new"}
    assert sorted(tmp_path.iterdir()) == [link, old]


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.write_text("mine")
    with pytest.raises(NotADirectoryError, match="model"), atomic_folder(target):
        pytest.fail("the block must not run")
    assert contents(tmp_path) == {"model": "mine"}


def test_a_new_folder_and_a_new_file_are_readable_by_all(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model") as created:
        write_atomic(created / "file.txt", "")
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "model" / "file.txt").stat().st_mode & 0o777 == 0o644


def test_a_new_folder_is_readable_by_all_whatever_the_umask(tmp_path: Path) -> None:
    """Keras and `Path.write_bytes` obey the umask, and copies keep the mode of their source."""
    before = os.umask(0o077)
    try:
        with atomic_folder(tmp_path / "model") as created:
            (created / "figures").mkdir()
            (created / "figures" / "one.png").write_bytes(b"")
            (created / "link").symlink_to("none")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("[!l]*")}
    assert modes == {"model": 0o755, "figures": 0o755, "one.png": 0o644}


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
    with pytest.raises(OSError, match="No space left") as raised:
        write_atomic(path, "new")
    assert raised.value.filename == str(path)
    assert contents(tmp_path) == {"file.txt": "old"}


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path, old: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_atomic(old, "new")
    assert contents(tmp_path) == {"model/old.txt": "old"}


def test_an_error_of_a_write_names_the_file_and_not_a_temporary_one(
    tmp_path: Path, old: Path
) -> None:
    for path, kind in (
        (tmp_path / "none" / "why.png", FileNotFoundError),
        (old / "old.txt" / "why.png", NotADirectoryError),
        (old, IsADirectoryError),
    ):
        with pytest.raises(kind) as raised:
            write_atomic(path, b"x")
        assert raised.value.filename == str(path)


def test_text_with_a_file_name_that_is_no_utf_8_is_written_with_an_escape(tmp_path: Path) -> None:
    write_atomic(tmp_path / "table.csv", "gr\udcfcn.jpg,art\n")
    assert (tmp_path / "table.csv").read_text() == "gr\\xfcn.jpg,art\n"


def test_a_reader_always_sees_the_old_or_the_new_folder(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folders are exchanged in one step: they are not renamed one after the other."""

    def refuse(*_: object) -> None:
        pytest.fail("a rename would leave a moment without the folder")

    with atomic_folder(old) as created:
        (created / "new.txt").write_text("new")
        monkeypatch.setattr(Path, "rename", refuse)
    assert contents(old) == {"new.txt": "new"}
    assert list(old.parent.iterdir()) == [old]


def test_folders_are_renamed_where_they_cannot_be_exchanged(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    with atomic_folder(old) as created:
        (created / "new.txt").write_text("new")
    assert contents(old.parent) == {"model/new.txt": "new"}
    assert list(old.parent.iterdir()) == [old]


def test_the_error_of_a_full_disk_names_the_file_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/a/temporary/file")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(tmp_path / "keys.yaml", "new")
    assert files.explain(caught.value) == (
        f"{tmp_path}/keys.yaml: No space left on device; free some space, or choose another folder"
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("no number"), "no number"),
        (OSError(errno.ENOSPC, "No space"), "[Errno 28] No space"),
        (PermissionError(13, "Permission denied", b"/caf\xe9"), "/caf\udce9: Permission denied"),
    ],
)
def test_any_error_of_the_system_is_explained(error: OSError, text: str) -> None:
    assert files.explain(error) == text


def test_a_user_without_a_home_has_to_choose_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as any user id."""

    def nobody(user: int) -> None:
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(DataError, match="no home for the cache: set XDG_CACHE_HOME to a folder"):
        files.cache()
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert files.cache() == Path("/cache/pintag")


def test_the_reason_of_a_full_disk_has_the_remedy() -> None:
    """Also if a library has a long text of its own."""
    error = OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28]")
    remedy = "free some space, or choose another folder"
    assert files.reason(error) == f"No space left on device; {remedy}"
