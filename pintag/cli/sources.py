"""The images that a command is given: files, folders of them, standard input, or a data set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click
from rich.markup import escape

from pintag import dataset, images
from pintag.cli import console
from pintag.dataset import DataSet
from pintag.errors import DataError, NotAnImageError, PintagError

Read = Callable[[], bytes]
"""Reads an image's bytes; an `ImageError` says why it cannot."""
# An image by its name, and the call that reads it.
Source = tuple[str, Read]

STDIN = "-"


def expand(names: Sequence[str], *, limited: bool) -> list[Source]:
    """The images that arguments mean, in order; a folder means those below it.

    Args:
        limited: read no more of a file than one byte above the limit, which is then refused. A
            server knows its own limit.

    Raises:
        DataError: a folder has no images.
    """
    limit = images.DEFAULT_LIMITS.max_bytes if limited else None
    return [source for name in names for source in _expand(name, limit)]


def require(names: Sequence[str]) -> None:
    """Find out before long work whether any of the arguments is there.

    Raises:
        DataError: none is.
    """
    if not any(name == STDIN or Path(name).exists() for name in names):
        raise DataError(f"{', '.join(names)}: no such file or folder")


def data_set(directory: Path | None, seed: int) -> DataSet:
    """The data set in a folder, by default ./data; files that cannot be read are named.

    Raises:
        UsageError: no folder is given, and there is no ./data.
        DataError: it is no data set.
    """
    if directory is None and not Path("data").is_dir():
        raise click.UsageError("give --data; there is no ./data here")
    with console.progress("reading") as progress:
        scanned = dataset.scan(directory or Path("data"), seed=seed, progress=progress)
    for file in scanned.unreadable:
        console.skipped(file)
    return scanned


def failed(name: str, error: PintagError) -> dict[str, object]:
    """Name an image that nothing can be said about; its entry among the results."""
    console.err.print(f"[red]error:[/] {escape(name)}: {escape(str(error))}", soft_wrap=True)
    return {"image": name, "error": str(error)}


def _expand(name: str, limit: int | None) -> Iterator[Source]:
    if name == STDIN:
        yield name, lambda: _read(sys.stdin.buffer, limit)
        return
    path = Path(name)
    if path.is_dir():
        found = [
            file for file in sorted(path.rglob("*")) if _is_image(file.relative_to(path), file)
        ]
        if not found:
            raise DataError(f"{path}: no images in this folder ({', '.join(images.SUFFIXES)})")
        for file in found:
            yield str(file), partial(_read_file, file, limit)
    else:
        yield name, partial(_read_file, path, limit)


def _is_image(name: Path, file: Path) -> bool:
    """By its name; what lies in a hidden folder is hidden, too."""
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and name.suffix.lower() in images.SUFFIXES and not file.is_dir()


def _read_file(path: Path, limit: int | None) -> bytes:
    try:
        with path.open("rb") as file:
            return _read(file, limit)
    except OSError as error:
        raise NotAnImageError(error.strerror or str(error)) from error


def _read(file: BinaryIO, limit: int | None) -> bytes:
    """All of it, or one byte more than `limit`: enough to be refused, of a file without end."""
    return file.read(-1 if limit is None else limit + 1)
