"""Walk folders: what is read, what is left out and why, links and loops."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pintag.data import walker
from pintag.data.walker import DANGLING, HIDDEN, LISTED, LOCKED, METADATA, NO_IMAGE, SPECIAL
from tests.pintag.data.folders import draw


def files(root: Path, found: walker.Walk) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found.files]


def reasons(root: Path, found: walker.Walk) -> dict[str, str]:
    return {item.path.relative_to(root).as_posix(): item.reason for item in found.left_out}


def test_files_are_sorted_and_come_from_all_levels(tmp_path: Path) -> None:
    for name in ("b/2.png", "a.png", "b/c/3.png"):
        draw(tmp_path / name, 1)
    found = walker.walk(tmp_path)
    assert (files(tmp_path, found), found.left_out) == (["a.png", "b/2.png", "b/c/3.png"], ())


@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", "Icon\r", "._cat.png",
        "cat.png:Zone.Identifier", "@eaDir/cat.png", "__MACOSX/cats/cat.png", "lost+found/1",
        "$RECYCLE.BIN/1.png", "#recycle/1.png", ".@__thumb/1.png",
    ],
)  # fmt: skip
def test_metadata_is_left_out_at_every_level(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path, tmp_path / "deep" / "er"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0")
    first = name.partition("/")[0]
    found = walker.walk(tmp_path)
    assert reasons(tmp_path, found) == {first: METADATA, f"deep/er/{first}": METADATA}
    assert found.files == ()


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    draw(tmp_path / ".ipynb_checkpoints" / "1.png", 1)
    draw(tmp_path / ".1.png", 2)
    found = walker.walk(tmp_path)
    assert reasons(tmp_path, found) == {".1.png": HIDDEN, ".ipynb_checkpoints": HIDDEN}


def test_a_link_loop_lists_nothing_twice(tmp_path: Path) -> None:
    draw(tmp_path / "root" / "sub" / "1.png", 1)
    (tmp_path / "root" / "sub" / "up").symlink_to("..")
    (tmp_path / "root" / "sub" / "out").symlink_to("../..")
    (tmp_path / "root" / "itself").symlink_to("itself")
    found = walker.walk(tmp_path / "root")
    assert files(tmp_path, found) == ["root/sub/1.png"]
    assert reasons(tmp_path / "root", found) == {
        "itself": DANGLING,
        "sub/out": LISTED,
        "sub/up": LISTED,
    }


def test_a_linked_folder_is_listed_once_and_real_folders_come_first(tmp_path: Path) -> None:
    draw(tmp_path / "root" / "2024" / "1.png", 1)
    draw(tmp_path / "elsewhere" / "2.png", 2)
    (tmp_path / "root" / "1 favourites").symlink_to("2024")
    (tmp_path / "root" / "a").symlink_to("../elsewhere")
    (tmp_path / "root" / "b").symlink_to("../elsewhere")
    found = walker.walk(tmp_path / "root")
    assert files(tmp_path / "root", found) == ["2024/1.png", "a/2.png"]
    assert reasons(tmp_path / "root", found) == {"1 favourites": LISTED, "b": LISTED}


def test_a_linked_file_is_a_file(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 1)
    (tmp_path / "2.png").symlink_to("1.png")
    (tmp_path / "3.png").symlink_to("nowhere.png")
    found = walker.walk(tmp_path)
    assert files(tmp_path, found) == ["1.png", "2.png"]
    assert reasons(tmp_path, found) == {"3.png": DANGLING}


def test_pipes_and_sockets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    # The path of a socket must be short.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        found = walker.find_images(tmp_path)
    assert reasons(tmp_path, found) == {"pipe.jpg": SPECIAL, "socket.jpg": SPECIAL}


def test_an_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "good" / "1.png", 1)
    (tmp_path / "shut").mkdir()
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = walker.walk(tmp_path)
    assert files(tmp_path, found) == ["good/1.png"]
    assert reasons(tmp_path, found) == {"shut": "a folder that cannot be read: Permission denied"}


@pytest.mark.parametrize("target", ["x" * 300, "itself", "a.png/below", "none"])
def test_a_link_that_leads_nowhere_is_left_out(tmp_path: Path, target: str) -> None:
    draw(tmp_path / "a.png", 1)
    (tmp_path / "itself").symlink_to(target)
    found = walker.find_images(tmp_path)
    assert (files(tmp_path, found), reasons(tmp_path, found)) == (["a.png"], {"itself": DANGLING})


def test_a_link_into_a_folder_that_cannot_be_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "a.png", 1)
    (tmp_path / "link").symlink_to("none")
    stat = Path.stat

    def refuse(path: Path, **options: bool) -> os.stat_result:
        if path.name == "link":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    # The tests may run as root, to whom no folder is locked.
    monkeypatch.setattr(Path, "stat", refuse)
    found = walker.find_images(tmp_path)
    assert (files(tmp_path, found), reasons(tmp_path, found)) == (["a.png"], {"link": LOCKED})


def test_names_that_are_not_utf8_are_listed(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    draw(tmp_path / name / f"{name}.png", 1)
    assert walker.walk(tmp_path).files == (tmp_path / name / f"{name}.png",)


def test_the_content_decides_whether_a_file_is_an_image(tmp_path: Path) -> None:
    image = draw(tmp_path / "a.png", 1).read_bytes()
    for name in ("no_ending", "IMG_1.HEIC", "photo.jfif", "notes.txt"):
        (tmp_path / name).write_bytes(image)
    (tmp_path / "BMW.txt").write_text("BMW is a brand of cars")
    (tmp_path / "empty").touch()
    (tmp_path / "corrupt.jpg").write_bytes(b"")
    found = walker.find_images(tmp_path)
    assert files(tmp_path, found) == [
        "IMG_1.HEIC", "a.png", "corrupt.jpg", "no_ending", "notes.txt", "photo.jfif",
    ]  # fmt: skip
    assert reasons(tmp_path, found) == {"BMW.txt": NO_IMAGE, "empty": NO_IMAGE}


def test_a_summary_counts_by_reason(tmp_path: Path) -> None:
    for name in ("Thumbs.db", ".a", ".b"):
        (tmp_path / name).touch()
    left_out = walker.walk(tmp_path).left_out
    assert walker.summary(left_out) == f"; left out: 2 ({HIDDEN}), 1 ({METADATA})"
    assert walker.summary(()) == ""
