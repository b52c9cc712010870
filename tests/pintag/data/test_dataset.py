"""Scan a data set: layouts, labels, unreadable files, fingerprints, errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from pintag.core import machine
from pintag.core.errors import DataError
from pintag.data import dataset
from pintag.data.dataset import scan
from pintag.data.labels import Labels
from pintag.data.walker import NO_IMAGE, LeftOut
from pintag.images import decoding
from tests.pintag.data.folders import SPLITS, draw, fill, names, split_layout
from tests.pintag.images.encoded import png
from tests.pintag.images.hostile import progressive_jpeg


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "validation", "test"),
        ("train", "val", "test"),
        ("training", "valid", "testing"),
        ("training_set", "validation_set", "test_set"),
    ],
)
def test_a_split_layout_is_read_under_every_alias(
    tmp_path: Path, folders: tuple[str, str, str]
) -> None:
    result = scan(split_layout(tmp_path, folders))
    assert tuple(result.labels) == ("cat", "dog")
    assert names(result) == {
        split: [
            f"{folder}/{file}"
            for file in ("cat/000.png", "cat/001.png", "dog/000.png", "dog/001.png")
        ]
        for split, folder in zip(SPLITS, folders, strict=True)
    }
    assert [example.target for example in result.splits["test"]] == [0, 0, 1, 1]
    assert (len(result), result.divided, result.unreadable) == (12, (), ())


def test_every_alias_is_tested() -> None:
    assert sum(map(len, dataset.SPLITS.values())) == 10


def test_two_folders_of_the_same_split_are_joined(tmp_path: Path) -> None:
    result = scan(split_layout(tmp_path, ("train", "training_set", "val", "test")))
    assert {split: len(examples) for split, examples in result.splits.items()} == {
        "train": 8,
        "validation": 4,
        "test": 4,
    }


def test_counts_have_every_label(tmp_path: Path) -> None:
    fill(tmp_path, {"train/cat": 3, "train/dog": 1, "val/dog": 2, "test/cat": 1})
    result = scan(tmp_path)
    assert result.counts("train") == {"cat": 3, "dog": 1}
    assert result.counts("validation") == {"cat": 0, "dog": 2}
    assert result.counts("test") == {"cat": 1, "dog": 0}


def test_labels_come_from_all_splits(tmp_path: Path) -> None:
    fill(tmp_path, {"train/cat": 1, "train/dog": 1, "val/cat": 1, "test/emu": 1})
    assert tuple(scan(tmp_path).labels) == ("cat", "dog", "emu")


def test_images_in_nested_folders_belong_to_the_label_above(tmp_path: Path) -> None:
    split_layout(tmp_path)
    draw(tmp_path / "train" / "cat" / "2024" / "may" / "deep.png", 99)
    result = scan(tmp_path)
    assert result.counts("train") == {"cat": 3, "dog": 2}
    assert "train/cat/2024/may/deep.png" in names(result)["train"]


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    before = scan(split_layout(tmp_path)).fingerprint
    for number, hidden in enumerate(
        [
            "train/cat/.hidden.png",
            "train/cat/._000.png",
            "train/cat/.ipynb_checkpoints/000-checkpoint.png",
            "train/cat/deep/.cache/very/000.png",
            "train/.git/000.png",
            ".git/cat/000.png",
        ]
    ):
        draw(tmp_path / hidden, 100 + number)
    (tmp_path / "train" / "cat" / ".DS_Store").write_bytes(b"\0")
    result = scan(tmp_path)
    assert (result.fingerprint, result.unreadable) == (before, ())


def test_the_root_may_be_below_a_hidden_folder(tmp_path: Path) -> None:
    assert len(scan(split_layout(tmp_path / ".data" / "pets"))) == 12


def test_files_beside_the_folders_are_ignored(tmp_path: Path) -> None:
    split_layout(tmp_path)
    (tmp_path / "README.txt").write_text("about")
    draw(tmp_path / "train" / "stray.png", 99)
    result = scan(tmp_path)
    assert (len(result), result.unreadable) == (12, ())


def test_unreadable_files_are_listed_with_the_reason(tmp_path: Path) -> None:
    split_layout(tmp_path)
    whole = draw(tmp_path / "train" / "cat" / "broken.png", 99).read_bytes()
    contents = {
        "broken.png": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "huge.png": png((20_000, 20_000), 8, 2, b"\1\2\3"),
        "large.png": png((10_000, 10_000), 8, 2, b"\1\2\3"),
        "notes.jpg": b"not a picture at all",
        "scan.tif": b"II*\0" + bytes(20),
        "scans.jpg": progressive_jpeg(400, 390, 600),
    }
    for name, content in contents.items():
        (tmp_path / "train" / "cat" / name).write_bytes(content)
    result = scan(tmp_path)
    assert len(result) == 12
    assert [item.path.name for item in result.unreadable] == sorted(contents)
    assert result.left_out == ()
    for item, reason in zip(
        result.unreadable,
        (
            "the PNG is cut off",
            "empty",
            "20000x20000 pixels",
            "10000x10000 pixels",
            "not an image",
            "TIFF is not",
            "more than 100 scans",
        ),
        strict=True,
    ):
        assert item.path.parent == tmp_path / "train" / "cat"
        assert reason in item.reason


def test_a_file_that_is_no_image_is_left_out_as_by_every_other_command(tmp_path: Path) -> None:
    split_layout(tmp_path)
    notes = tmp_path / "train" / "cat" / "notes.txt"
    notes.write_bytes(b"not a picture at all")
    result = scan(tmp_path)
    assert (len(result), result.unreadable) == (12, ())
    assert result.left_out == (LeftOut(notes, NO_IMAGE),)


def test_a_huge_file_is_listed_and_not_read(tmp_path: Path) -> None:
    split_layout(tmp_path)
    with (tmp_path / "train" / "cat" / "film.gif").open("wb") as film:
        # A sparse file: it takes no space on the disk, but would not fit into memory.
        film.truncate(2**40)
    (listed,) = scan(tmp_path).unreadable
    assert "1,099,511,627,776 bytes; at most" in listed.reason


def test_a_broken_link_is_ignored(tmp_path: Path) -> None:
    split_layout(tmp_path)
    (tmp_path / "train" / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert len(scan(tmp_path)) == 12


def test_a_drawn_data_set_is_synthetic(tmp_path: Path) -> None:
    split_layout(tmp_path)
    assert not scan(tmp_path).is_synthetic
    (tmp_path / "SYNTHETIC.txt").write_text("drawn")
    assert scan(tmp_path).is_synthetic


def test_a_missing_folder_or_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, words in (("nowhere", "no such folder"), ("file", "a file, not a folder")):
        with pytest.raises(DataError, match=f"{name}: {words}"):
            scan(tmp_path / name)


@pytest.mark.parametrize("folders", [[], ["train", "test"], [".git"]])
def test_a_folder_without_labels_error_shows_the_layouts(
    tmp_path: Path, folders: list[str]
) -> None:
    for folder in folders:
        # Images directly in a split folder have no label, and a split is not a label.
        draw(tmp_path / folder / "picture.png", 1)
    with pytest.raises(DataError, match=r"no label folders; expected <split>/<label>/\* or <lab"):
        scan(tmp_path)


def test_a_single_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"^{tmp_path}: at least two labels are needed, not \['cat'\]; a data set"
    ):
        scan(fill(tmp_path, {"cat": 3}))


@pytest.mark.parametrize("count", [0, 2])
def test_folders_without_a_readable_image_are_refused(tmp_path: Path, count: int) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for index in range(count):
            (tmp_path / label / f"{index}.jpg").write_text("no image")
    with pytest.raises(DataError, match=f"no readable image in {2 * count} files"):
        scan(tmp_path)


def test_progress_counts_every_file(tmp_path: Path) -> None:
    split_layout(tmp_path)
    (tmp_path / "train" / "cat" / "broken.jpg").write_text("no image")
    calls: list[tuple[int, int]] = []
    scan(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 13) for done in range(1, 14)]


def test_a_folder_or_a_file_is_given_as_text_or_as_a_path(tmp_path: Path) -> None:
    paths = [tmp_path / "data" / name for name in ("art/one.png", "food/two.png")]
    for shade, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(path)
    for root in (tmp_path / "data", str(tmp_path / "data")):
        assert dataset.is_flat(root)
        assert len(scan(root)) == 2
        assert len(dataset.scan_split(root, "test", Labels(("art", "food"))).examples) == 2
    assert decoding.read(paths[0]).shape == decoding.read(str(paths[0])).shape == (8, 8, 3)


def test_images_are_decoded_in_as_many_threads_as_the_container_has_processors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pools: list[int] = []

    def pool(workers: int) -> ThreadPoolExecutor:
        pools.append(workers)
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr(machine, "allowed_cpus", lambda: 3)
    monkeypatch.setattr(dataset, "ThreadPoolExecutor", pool)
    split_layout(tmp_path)
    scan(tmp_path)
    assert pools == [3]
