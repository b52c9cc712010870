"""What is wrong with a data set, and what is merely worth knowing: `pintag data check`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pintag.dataset import SPLITS, TRAIN, DataSet, Unreadable

# The largest label may be this many times the smallest before the check remarks on it.
IMBALANCE = 3.0


@dataclass(frozen=True)
class Duplicates:
    """Files of equal content, with the split and label that each lies in."""

    files: tuple[tuple[str, str, Path], ...]

    @property
    def across_splits(self) -> bool:
        return len({split for split, _, _ in self.files}) > 1

    @property
    def across_labels(self) -> bool:
        return len({label for _, label, _ in self.files}) > 1


@dataclass(frozen=True)
class Inspection:
    """Counts per split and label, files left out, duplicates, and the verdict."""

    counts: dict[str, dict[str, int]]
    unreadable: tuple[Unreadable, ...]
    duplicates: tuple[Duplicates, ...]
    imbalance: float
    """The largest training label over the smallest; infinite when one is empty."""
    problems: tuple[str, ...]
    """Each makes the data set unusable."""
    warnings: tuple[str, ...]

    @property
    def usable(self) -> bool:
        return not self.problems


def inspect(dataset: DataSet) -> Inspection:
    """Judge a scanned data set."""
    counts = {split: dataset.counts(split) for split in SPLITS}
    duplicates = _duplicates(dataset)
    sizes = counts[TRAIN].values()
    imbalance = max(sizes) / min(sizes) if min(sizes) else float("inf")
    return Inspection(
        counts,
        dataset.unreadable,
        duplicates,
        imbalance,
        tuple(_problems(counts)),
        tuple(_warnings(dataset, duplicates, imbalance)),
    )


def _problems(counts: dict[str, dict[str, int]]) -> list[str]:
    return [
        f"label {label!r} has no readable image in the {split} split"
        for split, by_label in counts.items()
        for label, count in by_label.items()
        # A label that is never trained cannot be learnt; elsewhere only an empty split matters.
        if count == 0 and (split == TRAIN or not any(by_label.values()))
    ]


def _warnings(dataset: DataSet, duplicates: tuple[Duplicates, ...], imbalance: float) -> list[str]:
    warnings = []
    if dataset.divided:
        warnings.append(f"no folder for {' or '.join(dataset.divided)}: taken from the images here")
    if dataset.unreadable:
        warnings.append(f"{len(dataset.unreadable)} files are unreadable and will be skipped")
    if across := sum(group.across_splits for group in duplicates):
        warnings.append(f"{across} images lie in more than one split: figures will flatter")
    if across := sum(group.across_labels for group in duplicates):
        warnings.append(f"{across} images lie under more than one label")
    # Infinite when a label is empty, which is a problem already.
    if IMBALANCE < imbalance < float("inf"):
        warnings.append(
            f"the largest label has {imbalance:.1f} times the images of the smallest: consider "
            "head.class_weights=balanced"
        )
    return warnings


def _duplicates(dataset: DataSet) -> tuple[Duplicates, ...]:
    groups: dict[str, list[tuple[str, str, Path]]] = defaultdict(list)
    for split, examples in dataset.splits.items():
        for example in examples:
            groups[example.digest].append((split, dataset.labels[example.target], example.path))
    return tuple(Duplicates(tuple(files)) for files in groups.values() if len(files) > 1)
