"""Check a data set: problems that prevent training, and warnings (`pintag data check`)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pintag.core import formatting
from pintag.data.dataset import SPLITS, TRAIN, DataSet, Unreadable

# Warn if the largest label has more than this many times the images of the smallest.
IMBALANCE = 3.0


@dataclass(frozen=True)
class Duplicates:
    """Files with identical content."""

    files: tuple[tuple[str, str, Path], ...]
    """The split, label and path of each file."""

    @property
    def across_splits(self) -> bool:
        return len({split for split, _, _ in self.files}) > 1

    @property
    def across_labels(self) -> bool:
        return len({label for _, label, _ in self.files}) > 1


@dataclass(frozen=True)
class Inspection:
    """The result of a check."""

    counts: dict[str, dict[str, int]]
    """Images by split and label."""
    unreadable: tuple[Unreadable, ...]
    duplicates: tuple[Duplicates, ...]
    imbalance: float
    """Images of the largest training label, divided by those of the smallest; infinite if a label
    has no training images."""
    problems: tuple[str, ...]
    """Reasons why the data set cannot be trained on."""
    warnings: tuple[str, ...]

    @property
    def usable(self) -> bool:
        return not self.problems


def inspect(dataset: DataSet) -> Inspection:
    """Check a scanned data set."""
    counts = {split: dataset.counts(split) for split in SPLITS}
    duplicates = _duplicates(dataset)
    sizes = counts[TRAIN].values()
    imbalance = max(sizes) / min(sizes) if min(sizes) else float("inf")
    return Inspection(
        counts,
        dataset.unreadable,
        duplicates,
        imbalance,
        (*dataset.problems, *_problems(counts)),
        tuple(_warnings(dataset, duplicates, imbalance)),
    )


def _problems(counts: dict[str, dict[str, int]]) -> list[str]:
    return [
        f"label {label!r} has no readable image in the {split} split"
        for split, by_label in counts.items()
        for label, count in by_label.items()
        # Every label needs training images; the other splits need one image of any label.
        if count == 0 and (split == TRAIN or not any(by_label.values()))
    ]


def _warnings(dataset: DataSet, duplicates: tuple[Duplicates, ...], imbalance: float) -> list[str]:
    warnings = [*dataset.warnings]
    if dataset.divided:
        missing = " or ".join(dataset.divided)
        warnings.append(f"no folder for {missing}: training images are held out for it")
    if dataset.unreadable:
        files = formatting.subject(len(dataset.unreadable), "file", "is", "are")
        warnings.append(f"{files} unreadable and will be skipped")
    if across := sum(group.across_splits for group in duplicates):
        images = formatting.subject(across, "image", "is", "are")
        warnings.append(f"{images} in more than one split: scores will be too high")
    if across := sum(group.across_labels for group in duplicates):
        images = formatting.subject(across, "image", "has", "have")
        warnings.append(f"{images} more than one label")
    # Infinite means that a label has no images, which is already reported as a problem.
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
