"""List files: a path or URI in each line, in the encodings that programs write."""

from __future__ import annotations

import codecs
import io
import posixpath
from collections.abc import Iterator
from typing import Any

from pintag.core.errors import DataError
from pintag.core.store import Store, is_remote

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read(store: Store) -> Iterator[str]:
    """The paths and URIs of a list file. Relative paths are resolved against its folder.

    The encoding is UTF-8, UTF-16 or UTF-32 by its byte order mark. Other bytes are those of the
    names: a list in Latin-1 names files in Latin-1. Empty lines are skipped, and so are lines that
    begin with # unless there is such a file.
    """
    folder = posixpath.dirname(store.root)
    with store.open(store.root) as file, _text(file) as lines:
        for line in lines:
            name = line.strip()
            if not name:
                continue
            path = posixpath.join(folder, name)
            if name.startswith("#") and not _names_file(store, path):
                continue
            has_scheme = is_remote(name) or name.startswith("file://")
            yield name if has_scheme else store.file_uri(path)


def _names_file(store: Store, path: str) -> bool:
    # Whatever a comment contains, it is no error of the list.
    try:
        return store.has_file(path)
    except DataError:
        return False


def _text(file: Any) -> io.TextIOWrapper:
    # A stream of a pipe cannot go back to its beginning, so it is buffered.
    buffered = io.BufferedReader(file)
    head = buffered.peek(4)
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    return io.TextIOWrapper(buffered, encoding=encoding, errors=errors)
