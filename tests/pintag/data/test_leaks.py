"""Leaks: the same image in two splits is found, also when saved differently, and moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pintag.data import dataset, leaks
from pintag.data.dataset import TEST, TRAIN, VALIDATION, DataSet


def picture(seed: int) -> Image.Image:
    """An image of low frequencies, like a photograph."""
    rough = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(rough).resize((160, 120), Image.Resampling.BICUBIC)


def save(path: Path, image: Image.Image, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=quality)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six different images of two labels in three splits."""
    for number, split in enumerate(("train", "val", "test")):
        for label in ("a", "b"):
            save(tmp_path / split / label / "own.jpg", picture(10 * number + ord(label)))
    return tmp_path


def result(root: Path) -> list[tuple[str, str, bool]]:
    """The leaks: their files, and whether they are equal."""
    data = dataset.scan(root)
    return [
        (
            leak.first[1].path.relative_to(root).as_posix(),
            leak.second[1].path.relative_to(root).as_posix(),
            leak.is_equal,
        )
        for leak in leaks.find(data)[0]
    ]


def counts(data: DataSet) -> list[int]:
    return [len(data.splits[split]) for split in (TRAIN, VALIDATION, TEST)]


def test_different_images_are_not_leaks(root: Path) -> None:
    assert result(root) == []


def test_an_equal_file_in_another_split_is_a_leak(root: Path) -> None:
    (root / "test/a/copy.jpg").write_bytes((root / "train/a/own.jpg").read_bytes())
    assert result(root) == [("train/a/own.jpg", "test/a/copy.jpg", True)]


@pytest.mark.parametrize("change", ["quality", "size", "format"])
def test_a_resaved_image_in_another_split_is_a_leak(root: Path, change: str) -> None:
    image = picture(ord("a"))
    if change == "quality":
        save(root / "val/a/again.jpg", image, quality=30)
    elif change == "size":
        save(root / "val/a/again.jpg", image.resize((80, 60)))
    else:
        save(root / "val/a/again.png", image)
    ((first, second, equal),) = result(root)
    assert (first, second.partition(".")[0], equal) == ("train/a/own.jpg", "val/a/again", False)


def test_copies_within_a_split_are_one_group_and_not_a_leak(root: Path) -> None:
    (root / "train/b/copy.jpg").write_bytes((root / "train/a/own.jpg").read_bytes())
    data = dataset.scan(root)
    leaking, groups = leaks.find(data)
    assert leaking == ()
    names = [example.path for split in data.splits.values() for example in split]
    a, b = (names.index(root / "train" / name) for name in ("a/own.jpg", "b/copy.jpg"))
    assert groups[a] == groups[b]
    assert len(set(groups)) == len(names) - 1


def test_leaks_are_moved_to_the_earliest_split(root: Path) -> None:
    image = picture(99)
    # A chain: the copy in the training set, one in validation, one in the test set.
    for split in ("train", "val", "test"):
        save(root / split / "a/thrice.jpg", image)
    save(root / "val/b/twice.jpg", picture(77))
    save(root / "test/b/twice.jpg", picture(77), quality=40)
    data = dataset.scan(root)
    leaking, _ = leaks.find(data)
    assert len(leaking) == 4
    clean = leaks.move(data, leaking)
    assert counts(clean) == [5, 4, 2]
    assert len(clean) == len(data)
    assert leaks.find(clean)[0] == ()
    for examples in clean.splits.values():
        assert list(examples) == sorted(examples, key=lambda example: example.path)
    assert clean.fingerprint != data.fingerprint


def test_without_leaks_nothing_is_moved(root: Path) -> None:
    data = dataset.scan(root)
    assert leaks.move(data, []).fingerprint == data.fingerprint


def test_hashing_reports_progress(root: Path) -> None:
    output: list[tuple[float, int]] = []
    leaks.find(dataset.scan(root), progress=lambda done, total: output.append((done, total)))
    assert output == [(number, 6) for number in range(1, 7)]
