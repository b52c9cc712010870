"""Data sets: folders of images with one subfolder for each label.

There are two layouts: `<split>/<label>/*` (see `SPLITS` for the names of splits), and a flat
`<label>/*`, which is divided into splits by a seed, stratified by label. Every file of a label
folder is read, whatever its name: its content decides whether it is an image.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pintag.core import formatting, machine, types
from pintag.core.errors import DataError, ImageError
from pintag.core.types import Progress
from pintag.data import layout as layouts
from pintag.data import walker
from pintag.data.labels import Labels
from pintag.data.layout import FLAT, NOTICE, DataLayout
from pintag.data.walker import LeftOut, Walk
from pintag.images import decoding

TRAIN, VALIDATION, TEST = layouts.TRAIN, layouts.VALIDATION, layouts.TEST
SPLITS = layouts.SPLITS
# The share of the training images that is held out for each split without a folder.
HELD_OUT_SHARE = 0.15
# Scanning decodes every file to find corrupt ones; a small size makes decoding a JPEG faster.
_PROBE_SIZE = 32

FolderPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Example:
    """A readable image: its file, the index of its label, the SHA-256 of its bytes."""

    path: Path
    target: int
    digest: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is not a usable image, and the reason."""

    path: Path
    reason: str


@dataclass(frozen=True)
class DataSet:
    """The readable examples of each split, sorted by path, and the unreadable files."""

    root: Path
    labels: Labels
    splits: Mapping[str, tuple[Example, ...]]
    unreadable: tuple[Unreadable, ...] = ()
    divided: tuple[str, ...] = ()
    """The splits without a folder; their images were held out of the training images."""
    left_out: tuple[LeftOut, ...] = ()
    """Files and folders that were not read, such as the metadata of an operating system."""
    problems: tuple[str, ...] = ()
    """Names of folders that cannot be the name of a label."""
    warnings: tuple[str, ...] = ()
    """Names of folders that look the same."""

    def __len__(self) -> int:
        return sum(len(examples) for examples in self.splits.values())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over split, label and content of every example, independent of paths."""
        digest = hashlib.sha256()
        for split, examples in self.splits.items():
            for each in examples:
                digest.update(f"{split}\t{self.labels[each.target]}\t{each.digest}\n".encode())
        return digest.hexdigest()

    @property
    def is_synthetic(self) -> bool:
        """Whether `pintag data sample` drew the images; a file in the folder says so."""
        return (self.root / NOTICE).exists()

    @property
    def examples(self) -> tuple[Example, ...]:
        """The examples of all splits, split by split."""
        return tuple(chain.from_iterable(self.splits.values()))

    def with_absolute_paths(self) -> DataSet:
        """The same data set for processes with other working directories."""
        splits = {
            split: tuple(replace(example, path=example.path.absolute()) for example in examples)
            for split, examples in self.splits.items()
        }
        return replace(self, root=self.root.absolute(), splits=splits)

    def counts(self, split: str) -> dict[str, int]:
        """The number of examples of every label in one split, zeros included."""
        by_target = Counter(example.target for example in self.splits[split])
        return {name: by_target[index] for index, name in enumerate(self.labels)}


def scan(root: FolderPath, *, seed: int = 0, progress: Progress | None = None) -> DataSet:
    """Read and decode every file below `root`; unreadable files are listed in the result.

    A split without a folder is held out of the training images, stratified by label. Identical
    files stay together, so that no image is in two splits.

    Args:
        seed: determines which images are held out.
        progress: called with the number of files read so far, and the number of all files.

    Raises:
        DataError: the folder does not exist, has neither layout, or has no readable image.
    """
    root = Path(root)
    layout = layouts.find(root)
    folders = [(split, folder) for split, group in layout.folders.items() for folder in group]
    labels = _labels(root, [folder for _, folder in folders])
    walks = {folder: layout.files(folder) for _, folder in folders}
    files = [
        (TRAIN if split == FLAT else split, path, labels.index(layouts.label_name(folder)))
        for split, folder in folders
        for path in walks[folder].files
    ]
    results = _read_all([(path, target) for _, path, target in files], progress)
    examples = _by_split(root, [split for split, _, _ in files], results)
    divided = tuple(split for split in (VALIDATION, TEST) if split not in layout.folders)
    for split in divided:
        examples[TRAIN], examples[split] = _hold_out(examples[TRAIN], HELD_OUT_SHARE, seed)
    return DataSet(
        root,
        labels,
        {split: tuple(examples[split]) for split in SPLITS},
        tuple(result for result in results if isinstance(result, Unreadable)),
        divided,
        _left_out(layout, walks),
        layout.problems,
        layout.warnings,
    )


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split, read with the labels of a model."""

    examples: tuple[Example, ...]
    unreadable: tuple[Unreadable, ...]
    left_out: tuple[LeftOut, ...]


def scan_split(
    root: FolderPath, split: str, labels: Labels, progress: Progress | None = None
) -> SplitFiles:
    """Read one split with the labels of a model; a flat folder counts as the split.

    Raises:
        DataError: there is no such split, or the name of a folder is not a label of the model.
    """
    layout = layouts.find(Path(root))
    folders = layout.folders.get(FLAT) or layout.folders.get(split)
    if not folders:
        raise DataError(f"{root}: no {split!r} split; there are {', '.join(layout.folders)}")
    targets = {folder: _target(folder, labels) for folder in folders}
    walks = {folder: layout.files(folder) for folder in folders}
    files = [(path, targets[folder]) for folder in folders for path in walks[folder].files]
    results = _read_all(files, progress)
    examples = tuple(result for result in results if isinstance(result, Example))
    if not examples:
        raise DataError(f"{root}: no readable image in the {split!r} split")
    return SplitFiles(
        examples,
        tuple(result for result in results if isinstance(result, Unreadable)),
        _left_out(layout, walks),
    )


def _left_out(layout: DataLayout, walks: Mapping[Path, Walk]) -> tuple[LeftOut, ...]:
    return (*layout.left_out, *(item for walk in walks.values() for item in walk.left_out))


def _labels(root: Path, folders: Sequence[Path]) -> Labels:
    try:
        return Labels(tuple(sorted({layouts.label_name(folder) for folder in folders})))
    except DataError as error:
        remedy = "a data set has a folder of images for each label"
        # A zip often has one folder, which contains everything.
        if len(folders) == 1 and walker.entries(folders[0]).folders:
            remedy += f"; if {folders[0]} is the data set, give this folder"
        raise DataError(f"{root}: {error}; {remedy}") from error


def _target(folder: Path, labels: Labels) -> int:
    """The index of a folder's label in a model, which may have its name in another form."""
    try:
        return labels.index(layouts.label_name(folder))
    except DataError as error:
        raise DataError(
            f"{folder}: {folder.name!r} is not a label of the model; its labels are "
            f"{formatting.names(labels)}"
        ) from error


def is_flat(root: FolderPath) -> bool:
    """Whether a data set has folders of labels and no splits.

    Raises:
        DataError: the folder does not exist, or has neither layout.
    """
    return FLAT in layouts.find(Path(root)).folders


def batches(
    examples: Sequence[Example], input_size: int, batch_size: int
) -> Iterator[tuple[types.Pixels, npt.NDArray[np.int64]]]:
    """Decode examples in order and yield batches: pixels `uint8[n,S,S,3]` and targets `int64[n]`.

    Every batch but the last has `batch_size` images. Threads decode one batch ahead.

    Raises:
        ImageError: a file cannot be read; the message names it.
    """
    groups = [examples[at : at + batch_size] for at in range(0, len(examples), batch_size)]
    with ThreadPoolExecutor(machine.allowed_cpus()) as pool:

        def submit(group: Sequence[Example]) -> list[Future[types.Pixels]]:
            return [pool.submit(decoding.read, example.path, input_size) for example in group]

        ahead = submit(groups[0]) if groups else []
        for group, following in zip_longest(groups, groups[1:]):
            pending, ahead = ahead, submit(following) if following else []
            pixels = np.stack([future.result() for future in pending])
            yield pixels, np.array([example.target for example in group], np.int64)


def _by_split(
    root: Path, splits: Sequence[str], results: Sequence[Example | Unreadable]
) -> dict[str, list[Example]]:
    """The readable examples of each split; `splits` has the split of each result.

    Raises:
        DataError: there are none.
    """
    examples: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for split, result in zip(splits, results, strict=True):
        if isinstance(result, Example):
            examples[split].append(result)
    if not any(examples.values()):
        raise DataError(f"{root}: no readable image in {len(results)} files")
    return examples


def _read_all(
    files: Sequence[tuple[Path, int]], progress: Progress | None
) -> list[Example | Unreadable]:
    results = []
    with ThreadPoolExecutor(machine.allowed_cpus()) as pool:
        for result in pool.map(lambda file: _read(*file), files):
            results.append(result)
            if progress:
                progress(len(results), len(files))
    return results


def _read(path: Path, target: int) -> Example | Unreadable:
    try:
        decoding.check_bytes(path.stat().st_size)
        data = path.read_bytes()
        decoding.decode(data, size=_PROBE_SIZE)
    except ImageError as error:
        return Unreadable(path, str(error))
    except OSError as error:
        return Unreadable(path, error.strerror or str(error))
    return Example(path, target, hashlib.sha256(data).hexdigest())


def _hold_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Return the remaining examples, and a held-out `share` of each label; the order is kept."""
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
