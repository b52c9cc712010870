"""The inputs of commands: image files, folders, standard input, and data sets."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click

from pintag.cli import console
from pintag.cli.console import escape
from pintag.core.errors import DataError, NotAnImageError, PintagError
from pintag.data import dataset, walker
from pintag.data.dataset import DataSet
from pintag.data.walker import Walk
from pintag.images import decoding

Read = Callable[[], bytes]
"""Reads the bytes of an image; raises an `ImageError` if it cannot."""
Source = tuple[str, Read]
"""The name of an image, and the function that reads it."""

STDIN = "-"


def expand(names: Sequence[str], *, limited: bool) -> list[Source]:
    """List the images of arguments, in order; a folder stands for all images below it.

    The content of a file decides whether it is an image, and what is left out is printed. Reading
    an argument that cannot be read, or a folder without images, raises an `ImageError`: the other
    arguments are read all the same.

    Args:
        limited: read at most one byte more than the size limit of files, so that a huge file is
            refused without reading all of it. False for a server, which has its own limit.
    """
    limit = decoding.DEFAULT_LIMITS.max_bytes if limited else None
    return [source for name in names for source in _expand(name, limit)]


def require(names: Sequence[str]) -> None:
    """Check, before long work, that at least one of the arguments exists.

    Raises:
        DataError: none exists.
    """
    if not any(name == STDIN or os.path.exists(name) for name in names):  # noqa: PTH110
        raise DataError(f"{', '.join(names)}: no such file or folder")


def data_set(directory: Path | None, seed: int) -> DataSet:
    """Scan the data set in a folder, by default ./data, and print the unreadable files.

    Raises:
        UsageError: no folder is given, and ./data does not exist.
        DataError: the folder is not a data set.
    """
    if directory is None and not Path("data").is_dir():
        raise click.UsageError("give --data; the default folder ./data does not exist")
    with console.progress("reading") as progress:
        scanned = dataset.scan(directory or Path("data"), seed=seed, progress=progress)
    console.skipped(scanned.unreadable)
    console.left_out(scanned.left_out)
    console.not_utf8(example.path for example in scanned.examples)
    console.warnings(scanned.warnings)
    return scanned


def failed(name: str, error: PintagError) -> dict[str, object]:
    """Print the error of an image, and return its entry in the JSON results."""
    console.err.print(f"[red]error:[/] {escape(name)}: {escape(error)}", soft_wrap=True)
    return {"image": name, "error": str(error)}


def _expand(name: str, limit: int | None) -> Iterator[Source]:
    if name == STDIN:
        yield name, partial(_read_stdin, limit)
        return
    path = Path(name)
    # Unlike `Path.is_dir`, this is False for a path that cannot exist; reading it is the error.
    if os.path.isdir(path):  # noqa: PTH112
        found = walker.find_images(path)
        if not found.files:
            yield name, partial(_refuse, found)
            return
        console.left_out(found.left_out)
        console.not_utf8(found.files)
        for file in found.files:
            yield str(file), partial(_read_file, file, limit)
    elif "://" in name and not os.path.lexists(path):
        yield name, _refuse_uri
    else:
        yield name, partial(_read_file, path, limit)


def _refuse_uri() -> bytes:
    raise NotAnImageError("a URI, not a file of this machine; `pintag bulk` reads URIs")


def _refuse(found: Walk) -> bytes:
    raise NotAnImageError(f"no images in this folder{walker.summary(found.left_out)}")


def _read_stdin(limit: int | None) -> bytes:
    # Python has no such stream if the shell has closed it: `<&-`.
    if sys.stdin is None:
        raise NotAnImageError("standard input is closed")
    return _read(sys.stdin.buffer, limit)


def _read_file(path: Path, limit: int | None) -> bytes:
    try:
        file = path.open("rb")
    except OSError as error:
        raise NotAnImageError(error.strerror or str(error)) from error
    with file:
        return _read(file, limit)


def _read(file: BinaryIO, limit: int | None) -> bytes:
    """Read at most `limit` + 1 bytes; the extra byte shows that the file is too large."""
    try:
        return file.read(-1 if limit is None else limit + 1)
    except OSError as error:
        raise NotAnImageError(error.strerror or str(error)) from error
