"""Data sets: folders of images, one folder a class.

Two layouts are read: `<split>/<label>/*` (with the aliases of `SPLITS`), and a flat `<label>/*`
that is split here, stratified, by a seed.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pintag import images
from pintag.errors import DataError, ImageError
from pintag.labels import Labels

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# The folder names that mean each split; the last of each are the study's own.
SPLITS: Mapping[str, tuple[str, ...]] = {
    TRAIN: ("train", "training", "training_set"),
    VALIDATION: ("validation", "val", "valid", "validation_set"),
    TEST: ("test", "testing", "test_set"),
}
FLAT = "flat"
# The share of the training images that stands in for each split without a folder.
HELD_OUT_SHARE = 0.15
# Scanning decodes for the sake of finding what does not decode; a JPEG is cheapest when small.
_PROBE_SIZE = 32

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Example:
    """One readable image: its file, the index of its label, the SHA-256 of its bytes."""

    path: Path
    target: int
    digest: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is no usable image, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class DataSet:
    """The readable examples of each split, in the order of their paths, and what was left out."""

    root: Path
    labels: Labels
    splits: Mapping[str, tuple[Example, ...]]
    unreadable: tuple[Unreadable, ...] = ()
    divided: tuple[str, ...] = ()
    """The splits that had no folder of their own and were taken from the others by the seed."""

    def __len__(self) -> int:
        return sum(len(examples) for examples in self.splits.values())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over (split, label, content) of every example: equal data, equal fingerprint."""
        digest = hashlib.sha256()
        for split, examples in self.splits.items():
            for example in examples:
                row = f"{split}\t{self.labels[example.target]}\t{example.digest}\n"
                digest.update(row.encode())
        return digest.hexdigest()

    @property
    def is_synthetic(self) -> bool:
        """Whether the folder says that a program drew it (see `pintag.sample`)."""
        return (self.root / "SYNTHETIC.txt").exists()

    @property
    def examples(self) -> tuple[Example, ...]:
        """Those of all splits, one split after another."""
        return tuple(chain.from_iterable(self.splits.values()))

    def located(self) -> DataSet:
        """With absolute paths: workers run in folders of their own."""
        splits = {
            split: tuple(replace(each, path=each.path.absolute()) for each in examples)
            for split, examples in self.splits.items()
        }
        return replace(self, root=self.root.absolute(), splits=splits)

    def counts(self, split: str) -> dict[str, int]:
        """Examples per label of one split, every label named."""
        found = Counter(example.target for example in self.splits[split])
        return {name: found[index] for index, name in enumerate(self.labels)}


def scan(root: Path, *, seed: int = 0, progress: Progress | None = None) -> DataSet:
    """Read and decode every file below `root`; corrupt ones are listed, never fatal.

    A split without a folder is taken from the training images, stratified by label and with equal
    files kept together, so that no image is both trained and tested on.

    Raises:
        DataError: no such folder, or nothing in it that looks like a data set.
    """
    layout = _layout(root)
    labels = Labels(tuple(sorted({folder.name for split in layout.values() for folder in split})))
    given = {FLAT: TRAIN}
    files = [
        (given.get(split, split), path, labels.index(folder.name))
        for split, folders in layout.items()
        for folder in folders
        for path in _files(folder)
    ]
    found = _read_all([(path, target) for _, path, target in files], progress)
    examples: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for (split, _, _), result in zip(files, found, strict=True):
        if isinstance(result, Example):
            examples[split].append(result)
    if not any(examples.values()):
        raise DataError(f"{root}: no readable image in {len(files)} files")
    divided = tuple(split for split in (VALIDATION, TEST) if split not in layout)
    for split in divided:
        examples[TRAIN], examples[split] = _hold_out(examples[TRAIN], HELD_OUT_SHARE, seed)
    return DataSet(
        root,
        labels,
        {split: tuple(examples[split]) for split in SPLITS},
        tuple(result for result in found if isinstance(result, Unreadable)),
        divided,
    )


def scan_split(
    root: Path, split: str, labels: Labels, progress: Progress | None = None
) -> tuple[list[Example], list[Unreadable]]:
    """The examples of one split, under the labels of a model; a flat folder is one split.

    Raises:
        DataError: no such split, or a folder whose name is no label of the model.
    """
    layout = _layout(root)
    folders = layout.get(FLAT) or layout.get(split)
    if not folders:
        raise DataError(f"{root}: no {split!r} split; there are {', '.join(layout)}")
    for folder in folders:
        if folder.name not in labels.names:
            raise DataError(
                f"{folder}: {folder.name!r} is no label of the model; its labels are "
                f"{', '.join(labels)}"
            )
    files = [(path, labels.index(folder.name)) for folder in folders for path in _files(folder)]
    found = _read_all(files, progress)
    examples = [result for result in found if isinstance(result, Example)]
    if not examples:
        raise DataError(f"{root}: no readable image in the {split!r} split")
    return examples, [result for result in found if isinstance(result, Unreadable)]


def batches(
    examples: Sequence[Example], input_size: int, batch_size: int
) -> Iterator[tuple[images.Pixels, npt.NDArray[np.int64]]]:
    """Decode examples in order: `uint8[n,S,S,3]` and `int64[n]`, n at most `batch_size`.

    Decoding runs in threads, one batch ahead of the consumer.

    Raises:
        ImageError: naming a file that is not readable (any more).
    """
    groups = [examples[at : at + batch_size] for at in range(0, len(examples), batch_size)]
    with ThreadPoolExecutor(threads()) as pool:

        def submit(group: Sequence[Example]) -> list[Future[images.Pixels]]:
            return [pool.submit(images.read, example.path, input_size) for example in group]

        ahead = submit(groups[0]) if groups else []
        for group, following in zip_longest(groups, groups[1:]):
            pending, ahead = ahead, submit(following) if following else []
            pixels = np.stack([future.result() for future in pending])
            yield pixels, np.array([example.target for example in group], np.int64)


def threads() -> int:
    """The cores this process may run on: decoding in as many threads keeps them busy."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _layout(root: Path) -> dict[str, list[Path]]:
    """The label folders of each split, or of `FLAT` when the labels lie directly in `root`."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    folders = _subfolders(root)
    by_alias = {alias: split for split, aliases in SPLITS.items() for alias in aliases}
    splits = {folder: by_alias[folder.name] for folder in folders if folder.name in by_alias}
    # A lone class called "test" or "train" among others is a class: a split layout has a training
    # folder, and label folders in its splits, or nothing but splits.
    labelled = TRAIN in splits.values() and any(_subfolders(folder) for folder in splits)
    if not folders or not (labelled or len(splits) == len(folders)):
        layout = {FLAT: folders}
    else:
        layout = {split: [] for split in SPLITS if split in splits.values()}
        for folder, split in splits.items():
            layout[split] += _subfolders(folder)
    if not any(layout.values()):
        raise DataError(f"{root}: no class folders; expected <split>/<label>/* or <label>/*")
    return layout


def _subfolders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    """Every file below a label folder but hidden ones; what is no image is found by decoding."""
    # Files in hidden folders are hidden too: notebooks keep copies in .ipynb_checkpoints.
    return sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def _read_all(
    files: Sequence[tuple[Path, int]], progress: Progress | None
) -> list[Example | Unreadable]:
    found = []
    with ThreadPoolExecutor(threads()) as pool:
        for result in pool.map(lambda file: _read(*file), files):
            found.append(result)
            if progress:
                progress(len(found), len(files))
    return found


def _read(path: Path, target: int) -> Example | Unreadable:
    try:
        images.check_bytes(path.stat().st_size)
        data = path.read_bytes()
        images.decode(data, size=_PROBE_SIZE)
    except ImageError as error:
        return Unreadable(path, str(error))
    except OSError as error:
        return Unreadable(path, error.strerror or str(error))
    return Example(path, target, hashlib.sha256(data).hexdigest())


def _hold_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Divide by label: (the rest, a `share` of each label), both in their old order."""
    rng = np.random.default_rng(seed)
    held: set[str] = set()
    for target in sorted({example.target for example in examples}):
        digests = sorted({e.digest for e in examples if e.target == target} - held)
        count = round(len(digests) * share)
        if len(digests) > 1:
            count = min(max(count, 1), len(digests) - 1)
        held |= {digests[i] for i in rng.permutation(len(digests))[:count]}
    return (
        [example for example in examples if example.digest not in held],
        [example for example in examples if example.digest in held],
    )
