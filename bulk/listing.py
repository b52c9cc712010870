"""List the images of a source and divide them into parts; a resumed job reads the same listing.

A part is the unit of work of an actor and becomes one output file. Paths and URIs are saved as
listing files, one file for each part. In a Parquet column of bytes, each row group is a part.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pintag.bulk import folders, lists, tables
from pintag.bulk.folders import Folder
from pintag.bulk.tables import ColumnKind, TableColumn
from pintag.core import text
from pintag.core.errors import DataError
from pintag.core.store import Store, is_remote, local
from pintag.data import walker
from pintag.data.walker import LeftOut

Item = TypeVar("Item")

# The number of images of a part.
PART = 1024
LISTING = "_listing-{number:06}.parquet"


@dataclass(frozen=True)
class InputSource:
    """Where the images are."""

    uri: str
    """A folder, a list file, a Parquet file, or a folder of Parquet files."""
    column: str = "image"
    """The Parquet column with the bytes, or the paths or URIs, of images."""
    uri_column: str = ""
    """The Parquet column with names for rows of bytes; by default `file#row`."""

    @property
    def table_column(self) -> TableColumn:
        return TableColumn(self.column, self.uri_column)


@dataclass(frozen=True)
class Listing:
    """The number of images and parts of a source."""

    images: int
    parts: int
    groups: tuple[tuple[str, int, int], ...] = ()
    """The parts of a column of bytes: file, row group, index of its first row in the file."""
    left_out: tuple[tuple[str, int], ...] = ()
    """The numbers of files and folders that are left out, with their reasons."""


def create(source: InputSource, out: Store) -> Listing:
    """List a source; its paths or URIs are written to `out`, a file for each part.

    Raises:
        DataError: the source does not exist, has no images, or has no such Parquet column.
    """
    store = Store(source.uri)
    if store.is_file():
        is_table = store.root.lower().endswith(tables.SUFFIXES)
        found = Folder([store.root]) if is_table else Folder()
        uris = iter(()) if is_table else lists.read(store)
    else:
        found = folders.find(store, source.table_column)
        uris = map(store.file_uri, found.images)
    if not found.tables:
        return _write(source, uris, out, found.left_out)
    kinds = _kinds(store, found, source.table_column)
    if len(kinds) > 1 and "text" in kinds:
        raise DataError(
            f"{source.uri}: column {source.column!r} has bytes in one file and text in another"
        )
    if "text" not in kinds:
        return _groups(source, store, found)
    texts = tables.texts(store, found.tables, source.column, PART)
    return _write(source, texts, out, found.left_out)


def _kinds(store: Store, found: Folder, column: TableColumn) -> set[ColumnKind]:
    """What the tables contain; if others can be used, those that cannot are left out.

    Raises:
        DataError: none can be used.
    """
    kinds: dict[str, ColumnKind] = {}
    problems: dict[str, DataError] = {}
    for path in found.tables:
        try:
            kinds[path] = tables.kind(store, path, column)
        except DataError as error:
            problems[path] = error
    if not kinds:
        raise next(iter(problems.values()))
    found.tables = list(kinds)
    found.left_out += [LeftOut(Path(path), str(error)) for path, error in problems.items()]
    return set(kinds.values())


def read(out: Store, number: int) -> list[str]:
    """The paths or URIs of a part.

    Raises:
        DataError: the listing file is missing, damaged or of another program.
    """
    path = out.join(LISTING.format(number=number))
    try:
        return list(map(str, tables.values(out, path, "uri")))
    except DataError as error:
        remedy = "the listing of the job is lost: choose another folder"
        raise DataError(f"{error}; {remedy}") from error


def describe(out: Store, parts: Listing, number: int) -> str:
    """What a part contains, in a few words.

    Raises:
        DataError: the listing file is missing, damaged or of another program.
    """
    if parts.groups:
        path, group, _ = parts.groups[number]
        return f"row group {group} of {path}"
    uris = read(out, number)
    return f"{uris[0]} to {uris[-1]}" if len(uris) > 1 else uris[0]


def _groups(source: InputSource, store: Store, found: Folder) -> Listing:
    groups: list[tuple[str, int, int]] = []
    images = 0
    for path in found.tables:
        for group, first, rows in tables.row_groups(store, path):
            groups.append((path, group, first))
            images += rows
    if not images:
        raise _no_images(source, found.left_out)
    return Listing(images, len(groups), tuple(groups), _counts(found.left_out))


def _write(
    source: InputSource, uris: Iterator[str], out: Store, left_out: Sequence[LeftOut]
) -> Listing:
    import pyarrow
    import pyarrow.parquet

    images = parts = 0
    for part in batches(map(_encodable, uris), PART):
        content = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"uri": part}), content)
        out.write(LISTING.format(number=parts), content.getvalue())
        images, parts = images + len(part), parts + 1
    if not images:
        raise _no_images(source, left_out)
    return Listing(images, parts, left_out=_counts(left_out))


def _encodable(uri: str) -> str:
    """The same path, or its `file://` URI if it is not UTF-8: Parquet has no other text."""
    if text.is_utf8(uri):
        return uri
    return text.valid(uri) if is_remote(uri) else Path(local(uri)).absolute().as_uri()


def _no_images(source: InputSource, left_out: Sequence[LeftOut]) -> DataError:
    return DataError(f"{source.uri}: contains no images{walker.summary(left_out)}")


def _counts(left_out: Sequence[LeftOut]) -> tuple[tuple[str, int], ...]:
    return tuple((reason, len(paths)) for reason, paths in walker.by_reason(left_out).items())


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last one may be shorter."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
