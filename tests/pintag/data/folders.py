"""Draw small data sets for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from pintag.data.dataset import DataSet

SPLITS = ("train", "validation", "test")


def draw(path: Path, number: int) -> Path:
    """Write a small image that differs for every number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (number % 256, number // 256, 7)).save(path)
    return path


def fill(root: Path, counts: Mapping[str, int], first: int = 0) -> Path:
    """Write different images into folders of `root`."""
    number = first
    for folder, count in counts.items():
        for index in range(count):
            draw(root / folder / f"{index:03}.png", number)
            number += 1
    return root


def split_layout(root: Path, names: tuple[str, ...] = SPLITS) -> Path:
    return fill(root, {f"{name}/{label}": 2 for name in names for label in ("cat", "dog")})


def names(result: DataSet) -> dict[str, list[str]]:
    """The files of each split, by their paths below the root."""
    return {
        split: [example.path.relative_to(result.root).as_posix() for example in examples]
        for split, examples in result.splits.items()
    }
