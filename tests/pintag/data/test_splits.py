"""Hold out missing splits: stratified, by a seed, equal files together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pintag.data.dataset import scan
from tests.pintag.data.folders import fill, names, split_layout


def test_a_flat_layout_is_divided_into_splits(tmp_path: Path) -> None:
    result = scan(fill(tmp_path, {"cat": 40, "dog": 20}))
    assert result.divided == ("validation", "test")
    everything = [name for files in names(result).values() for name in files]
    assert sorted(everything) == sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")
    )


def test_held_out_splits_are_stratified(tmp_path: Path) -> None:
    result = scan(fill(tmp_path, {"cat": 40, "dog": 20, "emu": 3}))
    # 15 % of each label, and of the rest again; at least one image, but never all.
    assert result.counts("validation") == {"cat": 6, "dog": 3, "emu": 1}
    assert result.counts("test") == {"cat": 5, "dog": 3, "emu": 1}
    assert result.counts("train") == {"cat": 29, "dog": 14, "emu": 1}


def test_every_label_keeps_a_training_image(tmp_path: Path) -> None:
    result = scan(fill(tmp_path, {"cat": 10, "dog": 1}))
    assert result.counts("train")["dog"] == 1


def test_held_out_splits_depend_only_on_the_seed(tmp_path: Path) -> None:
    fill(tmp_path / "one", {"cat": 40, "dog": 20})
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    one, same, other = (
        names(scan(tmp_path / folder, seed=seed))
        for folder, seed in (("one", 3), ("other", 3), ("one", 4))
    )
    assert one == same
    assert one["validation"] != other["validation"]
    assert one["test"] != other["test"]


def test_every_split_is_sorted_by_path(tmp_path: Path) -> None:
    for files in names(scan(fill(tmp_path, {"cat": 40, "dog": 20}), seed=1)).values():
        assert files == sorted(files)


@pytest.mark.parametrize("seed", range(5))
def test_equal_files_are_in_the_same_split(tmp_path: Path, seed: int) -> None:
    fill(tmp_path, {"cat": 20, "dog": 20})
    for index in range(15):
        # Some within a label, some across labels.
        source = tmp_path / "cat" / f"{index:03}.png"
        shutil.copy(source, tmp_path / ("cat" if index % 2 else "dog") / f"copy-{index}.png")
    result = scan(tmp_path, seed=seed)
    sides = [{example.digest for example in examples} for examples in result.splits.values()]
    assert len(result) == 55
    assert sum(map(len, sides)) == len(set.union(*sides)) == 40


def test_only_missing_splits_are_held_out(tmp_path: Path) -> None:
    fill(tmp_path, {"train/cat": 20, "train/dog": 20, "test/cat": 5, "test/dog": 5})
    result = scan(tmp_path)
    assert result.divided == ("validation",)
    assert result.counts("train") == {"cat": 17, "dog": 17}
    assert result.counts("validation") == {"cat": 3, "dog": 3}
    assert all(name.startswith("test/") for name in names(result)["test"])
    assert all(name.startswith("train/") for name in names(result)["validation"])


@pytest.mark.parametrize("name", ["test", "train", "val"])
def test_a_label_may_have_the_name_of_a_split(tmp_path: Path, name: str) -> None:
    result = scan(fill(tmp_path, {"plane": 5, "ship": 5, name: 5}))
    assert tuple(result.labels) == tuple(sorted(("plane", "ship", name)))
    assert len(result) == 15


def test_other_folders_beside_splits_are_not_labels(tmp_path: Path) -> None:
    split_layout(tmp_path)
    fill(tmp_path, {"notes/figures": 2}, first=90)
    assert len(scan(tmp_path)) == 12


def test_an_empty_training_folder_is_not_a_label(tmp_path: Path) -> None:
    fill(tmp_path, {"train": 2, "val/cat": 2, "val/dog": 2, "notes": 1})
    result = scan(tmp_path)
    assert tuple(result.labels) == ("cat", "dog")
    assert len(result) == 4


def test_a_copy_has_the_same_fingerprint(tmp_path: Path) -> None:
    split_layout(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "far" / "away")
    (tmp_path / "far" / "away" / "train").rename(tmp_path / "far" / "away" / "training_set")
    one, other = scan(tmp_path / "one"), scan(tmp_path / "far" / "away")
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 64


def test_the_fingerprint_changes_with_a_byte_a_label_or_a_split(tmp_path: Path) -> None:
    split_layout(tmp_path)
    file = tmp_path / "train" / "cat" / "001.png"
    content = file.read_bytes()
    result = [scan(tmp_path).fingerprint]
    file.write_bytes(content + b"\0")
    result.append(scan(tmp_path).fingerprint)
    file.write_bytes(content)
    for target in ("train/dog/moved.png", "test/cat/moved.png"):
        moved = file.rename(tmp_path / target)
        result.append(scan(tmp_path).fingerprint)
        moved.rename(file)
    assert len(set(result)) == 4
    assert scan(tmp_path).fingerprint == result[0]


@pytest.mark.parametrize("target", ["train/dog/!.png", "val/emu/!.png"])
def test_the_fingerprint_changes_when_a_file_moves(tmp_path: Path, target: str) -> None:
    fill(tmp_path, {"train/cat": 2, "train/dog": 2, "train/emu": 2, "val/emu": 2, "test/cat": 1})
    before = scan(tmp_path)
    # From the end of one folder to the front of the next.
    source = "train/cat/001.png" if "dog" in target else "train/emu/001.png"
    (tmp_path / source).rename(tmp_path / target)
    after = scan(tmp_path)
    order, moved = (
        [example.digest for examples in result.splits.values() for example in examples]
        for result in (before, after)
    )
    assert order == moved
    assert before.fingerprint != after.fingerprint
