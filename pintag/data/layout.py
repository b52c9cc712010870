"""Find the label folders of a data set, and the names of their labels."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pintag.core import text
from pintag.core.errors import DataError
from pintag.data import walker
from pintag.data.walker import LISTED, Entries, LeftOut

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# The folder names of each split, in any case; the last of each is the name in the original study's
# data set.
SPLITS: Mapping[str, tuple[str, ...]] = {
    TRAIN: ("train", "training", "training_set"),
    VALIDATION: ("validation", "val", "valid", "validation_set"),
    TEST: ("test", "testing", "test_set"),
}
FLAT = "flat"
# The file by which a data set says that its images were drawn.
NOTICE = "SYNTHETIC.txt"
# A path keeps one of the two slashes.
_URI = re.compile(r"\w{2,}:/")
STRAY = "a file outside the folders of labels"


@dataclass(frozen=True)
class DataLayout:
    """The label folders of each split; a flat layout has the single key `FLAT`."""

    root: Path
    folders: Mapping[str, tuple[Path, ...]]
    left_out: tuple[LeftOut, ...]
    """What is beside the label folders."""
    known: frozenset[str]
    """The real paths of all folders in the layout. A link inside a label folder to one of them is
    not followed."""

    def files(self, folder: Path) -> walker.Walk:
        """The images of a label folder."""
        return walker.find_images(folder, self.known)

    @property
    def problems(self) -> tuple[str, ...]:
        """Names that cannot be the name of a label."""
        return tuple(
            f"{text.printable(str(folder))}: the name of this folder is not UTF-8, so it cannot be"
            " the name of a label: rename the folder"
            for folder in self._all()
            if not text.is_utf8(folder.name)
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Folders whose names look the same and have different code points, and similar labels."""
        forms: dict[str, dict[str, Path]] = {}
        # A name that is not UTF-8 has no form; it is one of the problems.
        for folder in (folder for folder in self._all() if text.is_utf8(folder.name)):
            forms.setdefault(label_name(folder), {}).setdefault(folder.name, folder)
        return tuple(
            f"{' and '.join(map(_with_form, same.values()))} differ only in Unicode normalisation:"
            f" both are the label {text.printable(label)!r}"
            for label, same in forms.items()
            if len(same) > 1
        ) + tuple(_similar(forms))

    def _all(self) -> Iterable[Path]:
        return (folder for folders in self.folders.values() for folder in folders)


def label_name(folder: Path) -> str:
    """The label of a folder: its name in the Unicode form NFC, as most systems write it."""
    return unicodedata.normalize("NFC", text.valid(folder.name))


def find(root: Path) -> DataLayout:
    """Find the label folders of a data set.

    Raises:
        DataError: the folder does not exist, or has neither layout.
    """
    if not root.is_dir():
        raise DataError(f"{root}: {_no_folder(root)}")
    top = walker.entries(root)
    folders = sorted(top.folders + top.links)
    by_alias = {alias: split for split, aliases in SPLITS.items() for alias in aliases}
    known = [folder for folder in folders if folder.name.lower() in by_alias]
    splits = {folder: by_alias[folder.name.lower()] for folder in known}
    inside = {folder: walker.entries(folder) for folder in splits}
    # A label may be called "test" or "train", too. So a split layout has either a training folder
    # and label folders in its splits, or only folders with names of splits.
    labelled = TRAIN in splits.values() and any(map(_has_folders, inside.values()))
    if not folders or not (labelled or len(splits) == len(folders)):
        return _layout(root, {FLAT: [top]}, [root], [])
    parts = {
        split: [inside[folder] for folder in splits if splits[folder] == split]
        for split in SPLITS
        if split in splits.values()
    }
    beside = [folder for folder in folders if folder not in splits]
    return _layout(root, parts, [root, *splits], [*_beside(top), *_not_in_a_split(beside)])


def _no_folder(path: Path) -> str:
    """What is given in place of the folder of a data set."""
    if path.exists():
        return "a file, not a folder"
    if _URI.match(str(path)):
        return "a URI; a data set must be a folder of this machine: copy it"
    return "no such folder"


def _similar(labels: Iterable[str]) -> Iterator[str]:
    """A warning for labels that a person may take for one: `Cats` and `cats`."""
    groups: dict[str, list[str]] = {}
    for label in sorted(labels):
        groups.setdefault(_bare(label), []).append(label)
    for same in (same for same in groups.values() if len(same) > 1):
        yield (
            f"{' and '.join(repr(text.printable(label)) for label in same)} are different labels,"
            " and differ only in case, spaces or invisible characters: if they are the same, put"
            " their images into one folder"
        )


def _bare(label: str) -> str:
    """A name without what people do not see or do not mean: case, width, outer spaces."""
    folded = unicodedata.normalize("NFKC", label).casefold()
    visible = "".join(each for each in folded if unicodedata.category(each) != "Cf")
    return " ".join(visible.split())


def _layout(
    root: Path, parts: Mapping[str, list[Entries]], above: list[Path], left_out: list[LeftOut]
) -> DataLayout:
    """Build a layout from the entries of the folders of each split."""
    known = frozenset(map(os.path.realpath, above))
    folders: dict[str, tuple[Path, ...]] = {}
    for split, found in parts.items():
        distinct = _distinct(found, known, left_out)
        folders[split] = tuple(sorted(distinct.values()))
    if not any(folders.values()):
        raise DataError(f"{root}: no label folders; expected <split>/<label>/* or <label>/*")
    for each in (each for found in parts.values() for each in found):
        left_out += _beside(each)
    labels = {os.path.realpath(folder) for group in folders.values() for folder in group}
    return DataLayout(root, folders, tuple(sorted(left_out)), known | labels)


def _distinct(
    found: Iterable[Entries], known: frozenset[str], left_out: list[LeftOut]
) -> dict[str, Path]:
    """The label folders of one split by real path. Real folders take precedence over links."""
    distinct: dict[str, Path] = {}
    found = list(found)
    for folder in [f for each in found for f in each.folders] + [
        link for each in found for link in each.links
    ]:
        real = os.path.realpath(folder)
        above = any(Path(path).is_relative_to(real) for path in known)
        if above or real in distinct:
            left_out.append(LeftOut(folder, LISTED))
        else:
            distinct[real] = folder
    return distinct


def _beside(found: Entries) -> list[LeftOut]:
    strays = [LeftOut(file, STRAY) for file in found.files if file.name != NOTICE]
    return [*found.left_out, *strays]


def _not_in_a_split(folders: Iterable[Path]) -> list[LeftOut]:
    return [LeftOut(folder, "a folder beside the splits") for folder in folders]


def _has_folders(found: Entries) -> bool:
    return bool(found.folders or found.links)


def _with_form(folder: Path) -> str:
    form = "NFC" if unicodedata.is_normalized("NFC", folder.name) else "NFD"
    return f"{text.printable(str(folder))} ({form})"
