"""List files: a path or URI in each line, in the encodings that programs write."""

from __future__ import annotations

import codecs
import io
import posixpath
import re
from collections.abc import Iterator
from typing import Any

from pintag.core.errors import DataError
from pintag.core.store import Store
from pintag.images.formats import PREFIX_BYTES, looks_like_image

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The first bytes of ZIP, gzip, bzip2, xz, Zstandard, 7-Zip and RAR.
_ARCHIVES = (
    b"PK\3\4", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!",
)  # fmt: skip
# A list has at most this share of NUL characters: UTF-16 has about a half, other files have more.
_MAX_NUL_SHARE = 0.1
_CSV, _JSON = (".csv", ".tsv"), (".json", ".jsonl", ".ndjson")
# The beginning of an object or an array. A name in brackets is neither.
_JSON_VALUE = re.compile(r"""\{\s*("|$)|\[\s*(["{[]|$)""")
_MARKUP = re.compile(r"<(\?xml|!doctype|html)\b", re.IGNORECASE)
_LIST = "a list is text with one path or URI in each line"


def read(store: Store) -> Iterator[str]:
    """The paths and URIs of a list file. Relative paths are resolved against its folder.

    The encoding is UTF-8, UTF-16 or UTF-32 by its byte order mark. Other bytes are those of the
    names: a list in Latin-1 names files in Latin-1. Empty lines are skipped. A line that begins
    with # is a comment, and spaces around a name are not part of it, unless the whole line is the
    name of a file that exists.

    Raises:
        DataError: the file is of another kind, such as an image or CSV.
    """
    with store.open(store.root) as file, _text(file, store) as lines:
        for line in lines:
            name = line.strip()
            if not name:
                continue
            whole = line.removesuffix("\n")
            if whole != name and _names_file(store, whole):
                name = whole
            elif name.startswith("#") and not _names_file(store, name):
                continue
            yield store.beside(store.root, name)


def _names_file(store: Store, name: str) -> bool:
    # Whatever a comment contains, it is not an error of the list.
    try:
        return store.has_file(posixpath.join(posixpath.dirname(store.root), name))
    except DataError:
        return False


def _text(file: Any, store: Store) -> io.TextIOWrapper:
    # A stream of a pipe cannot go back to its beginning, so it is buffered.
    buffered = io.BufferedReader(file)
    head = buffered.peek(PREFIX_BYTES)[:PREFIX_BYTES]
    if problem := _problem(head, posixpath.splitext(store.root)[1].lower()):
        raise DataError(f"{store.file_uri(store.root)}: {problem}")
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    return io.TextIOWrapper(buffered, encoding=encoding, errors=errors)


def _problem(head: bytes, suffix: str) -> str:
    """Why a file is not a list, by its first bytes and the end of its name; empty: it may be one.

    An entry of a list may contain anything, but a file of another kind has only such entries.
    """
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "latin-1")
    lines = map(str.strip, head.decode(encoding, "ignore").splitlines())
    line = next((line for line in lines if line and not line.startswith("#")), "")
    if looks_like_image(head):
        return "an image, not a list of paths; give its folder, or tag it with `pintag tag`"
    if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
        return "an archive, not a list of paths; unpack it, and give the folder"
    if head.startswith(b"PAR1"):
        return "a Parquet file; its name must end in .parquet"
    if suffix in _CSV and any(mark in line for mark in ',;\t|"'):
        return "a CSV file; convert it to Parquet, or to a list of paths"
    if _MARKUP.match(line) or line.startswith("%PDF-"):
        return f"a document, not a list of paths; {_LIST}"
    if _JSON_VALUE.match(line) or (suffix in _JSON and line.startswith(("{", "[", '"'))):
        return "a JSON file; convert it to Parquet, or to a list of paths"
    if head.startswith(tuple(mark for mark, _ in _MARKS)) or b"\0" not in head:
        return ""
    if b"\n" not in head or head.count(0) > _MAX_NUL_SHARE * len(head):
        return f"contains NUL characters; {_LIST}, and UTF-16 needs a byte order mark"
    return ""
