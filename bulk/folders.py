"""Folders of images or of Parquet tables, local or in object storage."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pintag.bulk import tables
from pintag.bulk.tables import TableColumn
from pintag.core.errors import DataError
from pintag.core.store import Store
from pintag.data import walker
from pintag.data.walker import NO_IMAGE, LeftOut
from pintag.images import formats
from pintag.images.decoding import SUFFIXES
from pintag.images.formats import PREFIX_BYTES, looks_like_image

NO_TABLE = "not a table"
# Files whose first bytes are read at the same time.
_THREADS = 16


@dataclass
class Folder:
    """The files of a source: tables, or images."""

    tables: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def find(store: Store, column: TableColumn) -> Folder:
    """List a folder and all below it.

    A folder with tables is a folder of tables, unless these are about the images beside them:
    `metadata.parquet` of Hugging Face, or tables without the column.
    """
    paths, left_out = _walk(store)
    found = [path for path in paths if tables.is_table(posixpath.relpath(path, store.root))]
    names = set(found)
    images, others = _images(store, [path for path in paths if path not in names])
    if found and not (images and _describes(store, found, column)):
        rest = [LeftOut(Path(path), NO_TABLE) for path in (*images, *others)]
        return Folder(tables=found, left_out=left_out + rest)
    rest = [LeftOut(Path(path), NO_IMAGE) for path in (*found, *others)]
    return Folder(images=images, left_out=left_out + rest)


def _walk(store: Store) -> tuple[list[str], list[LeftOut]]:
    """All files, sorted, and what is left out because of its name or kind."""
    if not store.scheme:
        walk = walker.walk(Path(store.root))
        return list(map(str, walk.files)), list(walk.left_out)
    left_out = list[LeftOut]()

    def reads(path: str) -> bool:
        reason = walker.metadata(posixpath.basename(path))
        if reason:
            left_out.append(LeftOut(Path(path), reason))
        return not reason

    return list(filter(reads, store.walk(enters=reads))), left_out


def _images(store: Store, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files that are images by their names or first bytes, and the other files."""
    unknown = [path for path in paths if posixpath.splitext(path)[1].lower() not in SUFFIXES]
    with ThreadPoolExecutor(_THREADS) as pool:
        results = list(pool.map(partial(_is_image, store), unknown))
    others = {path for path, is_image in zip(unknown, results, strict=True) if not is_image}
    return [path for path in paths if path not in others], sorted(others)


def _is_image(store: Store, path: str) -> bool:
    if not store.scheme:
        return formats.is_image_file(Path(path))
    try:
        with store.open(path) as file:
            return looks_like_image(file.read(PREFIX_BYTES))
    # Reading it later reports the error.
    except DataError:
        return True


def _describes(store: Store, found: Sequence[str], column: TableColumn) -> bool:
    """Whether tables are about the images beside them."""
    if all(posixpath.basename(path).lower() == tables.METADATA for path in found):
        return True
    try:
        tables.kind(store, found[0], column)
    except DataError:
        return True
    return False
