"""What is to be tagged, in parts, written down: a job that goes on reads the same list.

A part is what one actor tags at a time and one file of the output. Of URIs it is a file of the
listing; of a Parquet column of bytes it is a row group.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pintag.errors import DataError
from pintag.images import SUFFIXES
from pintag.store import Store, is_remote

Item = TypeVar("Item")

PART = 1024
LISTED = "_listing-{number:06}.parquet"


@dataclass(frozen=True)
class Source:
    """Where images come from."""

    place: str
    column: str = "image"
    """Of a Parquet file: bytes of images, or text that says where they are."""
    uri_column: str = ""
    """What rows of bytes are called; by default the file and the row's number."""


@dataclass(frozen=True)
class Listing:
    """The parts of a source."""

    images: int
    parts: int
    groups: tuple[tuple[str, int, int], ...] = ()
    """Of bytes: file, row group, and the number of its first row in the file."""


def make(source: Source, out: Store) -> Listing:
    """List a source; its URIs are written to `out`, a part at a time.

    Raises:
        DataError: there is nothing, or nothing to tag.
    """
    store = Store(source.place)
    if _is_parquet(store):
        tables = _tables(store)
        if _holds_bytes(store, tables[0], source):
            return _groups(store, tables)
        uris = _column(store, tables, source.column)
    elif store.is_file():
        uris = _lines(store)
    else:
        uris = (store.uri(path) for path in store.walk() if _is_image(path))
    return _written(source, uris, out)


def read(out: Store, number: int) -> list[str]:
    """The URIs of a part."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(out.read(out.join(LISTED.format(number=number)))))
    return list(table.column("uri").to_pylist())


def _is_parquet(store: Store) -> bool:
    if posixpath.splitext(store.root)[1] in (".parquet", ".pq"):
        return True
    return not store.is_file() and any(name.endswith(".parquet") for name in store.names())


def _tables(store: Store) -> list[str]:
    if store.is_file():
        return [store.root]
    # Names that begin like this are notes of programs, as in our own output.
    return [
        store.join(name)
        for name in sorted(store.names())
        if name.endswith(".parquet") and not name.startswith(("_", "."))
    ]


def _holds_bytes(store: Store, path: str, source: Source) -> bool:
    import pyarrow
    import pyarrow.parquet

    with _opened(store, path) as file:
        schema = file.schema_arrow
    known = ", ".join(schema.names)
    for name in filter(None, (source.column, source.uri_column)):
        if name not in schema.names:
            raise DataError(f"{path}: there is no column {name!r}; there are {known}")
    kind = schema.field(source.column).type
    if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
        return True
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return False
    raise DataError(f"{path}: column {source.column!r} is {kind}, neither bytes nor text")


def _groups(store: Store, tables: list[str]) -> Listing:
    groups: list[tuple[str, int, int]] = []
    images = 0
    for path in tables:
        with _opened(store, path) as file:
            first = 0
            for group in range(file.metadata.num_row_groups):
                groups.append((path, group, first))
                first += file.metadata.row_group(group).num_rows
            images += first
    return Listing(images, len(groups), tuple(groups))


def _opened(store: Store, path: str) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(store.open(path))
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{path}: no Parquet file: {error}") from error


def _column(store: Store, tables: list[str], column: str) -> Iterator[str]:
    for path in tables:
        with _opened(store, path) as file:
            for batch in file.iter_batches(PART, columns=[column]):
                yield from (value or "" for value in batch.column(0).to_pylist())


def _lines(store: Store) -> Iterator[str]:
    """The lines of a list file; a relative path is relative to the file."""
    with store.open(store.root) as file:
        for line in io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape"):
            name = line.strip()
            if name and not is_remote(name):
                name = store.uri(posixpath.join(posixpath.dirname(store.root), name))
            if name:
                yield name


def _is_image(path: str) -> bool:
    return posixpath.splitext(path)[1].lower() in SUFFIXES


def _written(source: Source, uris: Iterator[str], out: Store) -> Listing:
    import pyarrow
    import pyarrow.parquet

    images = parts = 0
    for part in batches(uris, PART):
        content = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"uri": part}), content)
        out.write(LISTED.format(number=parts), content.getvalue())
        images, parts = images + len(part), parts + 1
    if not images:
        raise DataError(f"{source.place}: no images here")
    return Listing(images, parts)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """As many at a time, the last ones fewer."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
