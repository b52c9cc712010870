"""Walk folders of images: the files to read, and what is left out and why.

All commands that read folders use this walker. Hidden files and folders, and the metadata of
operating systems and NAS, are left out. A linked folder is followed once, by its real path, after
all real folders. So a link loop ends, and no file is listed twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pintag.images import formats
from pintag.images.decoding import SUFFIXES

HIDDEN = "hidden"
METADATA = "metadata of an operating system or a NAS"
DANGLING = "a link that leads nowhere"
LOCKED = "a link into a folder that cannot be read"
LISTED = "a folder that is listed already"
SPECIAL = "neither a file nor a folder"
NO_IMAGE = "not an image"

# In lower case; file systems of Windows and Mac ignore the case.
_METADATA_NAMES = frozenset(
    (
        ".ds_store", "__macosx", ".appledouble", ".spotlight-v100", ".trashes", ".fseventsd",
        "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin",
        "system volume information", "@eadir", "#recycle", "#snapshot", "@recycle",
        "@recently-snapshot", ".@__thumb", "lost+found",
    )
)  # fmt: skip
_METADATA_PREFIX, _METADATA_SUFFIX = "._", ":zone.identifier"


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """A file or folder that is not read, and the reason."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Walk:
    """The files below a folder, sorted, and what was left out."""

    files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


@dataclass
class Entries:
    """The entries of one folder, sorted by name."""

    folders: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    """Links to folders."""
    files: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def metadata(name: str) -> str:
    """The reason why a file or folder with this name is left out; empty if it is not."""
    lower = name.lower()
    is_affixed = lower.startswith(_METADATA_PREFIX) or lower.endswith(_METADATA_SUFFIX)
    if is_affixed or lower in _METADATA_NAMES:
        return METADATA
    return HIDDEN if name.startswith(".") else ""


def entries(folder: Path) -> Entries:
    """List one folder. A folder that cannot be read is itself left out."""
    result = Entries()
    try:
        with os.scandir(folder) as scan:
            children = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        reason = f"a folder that cannot be read: {error.strerror}"
        return Entries(left_out=[LeftOut(folder, reason)])
    for child in children:
        _sort_in(child, folder / child.name, result)
    return result


def walk(folder: Path, known: Collection[str] = ()) -> Walk:
    """List the regular files of a folder and below.

    Args:
        known: real paths of further folders that count as listed already.
    """
    root = os.path.realpath(folder)
    seen, files, left_out = {root, *known}, list[Path](), list[LeftOut]()
    pending, links = [(folder, root)], list[Path]()
    while pending or links:
        if not pending:
            links.sort()
            pending += _resolved(links.pop(0), root, seen, left_out)
            continue
        path, real = pending.pop()
        found = entries(path)
        files += found.files
        left_out += found.left_out
        links += found.links
        for child in found.folders:
            child_real = f"{real}/{child.name}"
            if child_real in seen:
                left_out.append(LeftOut(child, LISTED))
            else:
                seen.add(child_real)
                pending.append((child, child_real))
    return Walk(tuple(sorted(files)), tuple(sorted(left_out)))


def find_images(folder: Path, known: Collection[str] = ()) -> Walk:
    """The files of a folder and below that are images by their content.

    A file with the name of an image is listed in any case, so that a corrupt one is reported.

    Args:
        known: real paths of further folders that count as listed already.
    """
    found = walk(folder, known)
    images, others = [], list(found.left_out)
    for path in found.files:
        if path.suffix.lower() in SUFFIXES or formats.is_image_file(path):
            images.append(path)
        else:
            others.append(LeftOut(path, NO_IMAGE))
    return Walk(tuple(images), tuple(sorted(others)))


def by_reason(left_out: Iterable[LeftOut]) -> dict[str, list[Path]]:
    """The paths of each reason, the most frequent reason first."""
    groups: dict[str, list[Path]] = {}
    for item in left_out:
        groups.setdefault(item.reason, []).append(item.path)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def summary(left_out: Iterable[LeftOut]) -> str:
    """The end of a message: `; left out: 3 (hidden), 1 (not an image)`, or empty."""
    counts = [f"{len(paths):,} ({reason})" for reason, paths in by_reason(left_out).items()]
    return f"; left out: {', '.join(counts)}" if counts else ""


def _sort_in(entry: os.DirEntry[str], path: Path, result: Entries) -> None:
    if reason := metadata(entry.name):
        result.left_out.append(LeftOut(path, reason))
    elif _is(entry.is_dir):
        (result.links if entry.is_symlink() else result.folders).append(path)
    elif _is(entry.is_file):
        result.files.append(path)
    else:
        result.left_out.append(LeftOut(path, _special(path)))


def _special(path: Path) -> str:
    """Why something that is neither a file nor a folder is left out."""
    try:
        path.stat()
    except PermissionError:
        return LOCKED
    # The target is missing, is the link itself, or has a name that is too long.
    except OSError:
        return DANGLING
    return SPECIAL


def _is(test: Callable[[], bool]) -> bool:
    # A link to itself raises, instead of counting as a link that leads nowhere.
    try:
        return test()
    except OSError:
        return False


def _resolved(
    link: Path, root: str, seen: set[str], left_out: list[LeftOut]
) -> Iterator[tuple[Path, str]]:
    """The linked folder and its real path, unless it was listed or contains the root."""
    real = os.path.realpath(link)
    if real in seen or Path(root).is_relative_to(real):
        left_out.append(LeftOut(link, LISTED))
        return
    seen.add(real)
    yield link, real
