"""Parquet tables of images, as pandas, Spark and Hugging Face write them.

A column of bytes may be a struct with the fields `bytes` and `path`, which is Hugging Face's image
column. Text may be dictionary-encoded, which is how pandas writes a categorical column.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pintag.core.errors import DataError
from pintag.core.store import Store

SUFFIXES = (".parquet", ".pq")
METADATA = "metadata.parquet"
"""Hugging Face's table about the pictures beside it."""

ColumnKind = Literal["bytes", "struct", "text"]
Content = bytes | DataError | None
"""The bytes of an image, the reason why they cannot be read, or None: the value is missing."""


@dataclass(frozen=True)
class TableColumn:
    """A column of images, and the names of its rows."""

    name: str
    names: str = ""
    """The column with names for rows; empty: there is none."""


def is_table(path: str) -> bool:
    """Whether a path below a folder is a data file, by its name.

    By convention, names that begin with these characters are not data, such as `_SUCCESS` of Spark
    and `_delta_log`.
    """
    parts = path.split("/")
    return path.lower().endswith(SUFFIXES) and not any(
        part.startswith(("_", ".")) for part in parts
    )


@contextlib.contextmanager
def opened(store: Store, path: str) -> Iterator[Any]:
    """Open a Parquet file.

    Raises:
        DataError: it cannot be read, or is not a Parquet file.
    """
    import pyarrow
    import pyarrow.parquet

    with store.open(path) as stream:
        try:
            file = pyarrow.parquet.ParquetFile(stream)
        # OSError: parts of the file are missing.
        except (pyarrow.ArrowException, OSError) as error:
            raise _error(store, path, "not a Parquet file", error) from error
        with file:
            yield file


def values(store: Store, path: str, name: str) -> list[Any]:
    """The values of a column of a file.

    Raises:
        DataError: the file cannot be read, or has no such column.
    """
    with opened(store, path) as file, _damage(store, path):
        if name not in file.schema_arrow.names:
            raise DataError(f"{store.file_uri(path)}: there is no column {name!r}")
        return list(file.read(columns=[name]).column(name).to_pylist())


@contextlib.contextmanager
def _damage(store: Store, path: str, place: str = "the file") -> Iterator[None]:
    """Turn the errors of damaged pages, whose bytes or text are invalid, into a `DataError`."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _error(store, path, f"{place} is damaged", error) from error


def _error(store: Store, path: str, problem: str, error: Exception) -> DataError:
    return DataError(f"{store.file_uri(path)}: {problem}: {str(error).strip()}")


def kind(store: Store, path: str, column: TableColumn) -> ColumnKind:
    """What a column of a file contains.

    Raises:
        DataError: there is no such column, or it contains neither bytes nor text.
    """
    from pyarrow import types

    with opened(store, path) as file:
        schema = file.schema_arrow
    where = store.file_uri(path)
    # The column with names may be left out, the one with images may not.
    for name in (column.name, *filter(None, [column.names])):
        if schema.names.count(name) > 1:
            raise DataError(f"{where}: there are several columns {name!r}; rename all but one")
        if _field(schema, name) is None:
            columns = ", ".join(schema.names)
            raise DataError(f"{where}: there is no column {name!r}; the columns are {columns}")
    found = _plain(_field(schema, column.name))
    if _is_bytes(found):
        return "bytes"
    if _is_text(found):
        return "text"
    if types.is_struct(found) and _is_image(found):
        return "struct"
    hint = ""
    if types.is_struct(found) and found.num_fields:
        hint = f"; a field of it is a column, too, such as {column.name}.{found.field(0).name}"
    raise DataError(f"{where}: column {column.name!r} is {found}, neither bytes nor text{hint}")


def _plain(found: Any) -> Any:
    """The type of the values of a column, which may be dictionary-encoded."""
    from pyarrow import types

    return found.value_type if types.is_dictionary(found) else found


def _is_image(struct: Any) -> bool:
    """Whether a struct is Hugging Face's column of images: the field `bytes`, perhaps `path`.

    A field without any value has the type null.
    """
    from pyarrow import types

    fields = {field.name: _plain(field.type) for field in struct}
    content, path = fields.get("bytes"), fields.get("path")
    return (
        content is not None
        and (_is_bytes(content) or types.is_null(content))
        and (path is None or _is_text(path) or types.is_null(path))
    )


def _is_text(found: Any) -> bool:
    """Whether a type of Arrow is text."""
    from pyarrow import types

    checks = (types.is_string, types.is_large_string, types.is_string_view)
    return any(check(found) for check in checks)


def texts(store: Store, tables: Sequence[str], column: str, batch: int) -> Iterator[str]:
    """The path or URI in each row of a column of text; a missing value is empty.

    Raises:
        DataError: a row group is damaged.
    """
    for path in tables:
        with opened(store, path) as file:
            for group in range(file.metadata.num_row_groups):
                with _damage(store, path, f"row group {group}"):
                    for rows in file.iter_batches(batch, row_groups=[group], columns=[column]):
                        for row in rows.to_pylist():
                            value = _value(row, column)
                            yield store.beside(path, value) if value else ""


def images(
    store: Store, path: str, group: int, column: TableColumn, batch: int
) -> Iterator[tuple[Any, Content, str]]:
    """The name, the content, and the path of each image of a row group.

    The name is None if there is none. The path is that of Hugging Face's struct, or empty. From
    the first damaged row on, the content of every row is the error.
    """
    names = [column.name, *([column.names] if column.names else [])]
    with opened(store, path) as file:
        count = 0
        try:
            with _damage(store, path, f"row group {group}"):
                for rows in file.iter_batches(batch, row_groups=[group], columns=names):
                    for row in _rows(rows, column.names):
                        count += 1
                        yield _image(row, column)
        except DataError as error:
            for _ in range(count, file.metadata.row_group(group).num_rows):
                yield None, error, ""


def _rows(rows: Any, names: str) -> list[dict[str, Any]]:
    """The rows of a batch; names that Python has no value for are text, or missing.

    Such are a date after the year 9999, a time in an unknown zone, and text in another encoding.
    A bad name must not make the image fail.
    """
    if names not in rows.schema.names:
        return list(rows.to_pylist())
    found = [_python(value) for value in rows.column(names)]
    others = rows.drop_columns([names]).to_pylist() or [{} for _ in found]
    return [{**row, names: name} for row, name in zip(others, found, strict=True)]


def _python(value: Any) -> Any:
    import pyarrow

    try:
        return value.as_py()
    except UnicodeDecodeError:
        return value.as_buffer().to_pybytes() if hasattr(value, "as_buffer") else None
    except (pyarrow.ArrowException, ValueError, OverflowError):
        return None


def _image(row: dict[str, Any], column: TableColumn) -> tuple[Any, Content, str]:
    value = _value(row, column.name)
    name = _value(row, column.names) if column.names else None
    if isinstance(value, dict):
        return name, value.get("bytes"), value.get("path") or ""
    return name, value, ""


def row_groups(store: Store, path: str) -> Iterator[tuple[int, int, int]]:
    """The number, first row and row count of each row group that has rows."""
    first = 0
    with opened(store, path) as file:
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if rows:
                yield group, first, rows
            first += rows


def _is_bytes(found: Any) -> bool:
    from pyarrow import types

    tests = (
        types.is_binary,
        types.is_large_binary,
        types.is_binary_view,
        types.is_fixed_size_binary,
    )
    return any(test(found) for test in tests)


def _field(schema: Any, name: str) -> Any:
    """The type of a column, or of a field of a struct as `image.bytes`; None: there is none."""
    from pyarrow import types

    if name in schema.names:
        return schema.field(name).type
    outer, _, inner = name.partition(".")
    if outer in schema.names and types.is_struct(parent := schema.field(outer).type):
        return next((field.type for field in parent if field.name == inner), None)
    return None


def _value(row: dict[str, Any], name: str) -> Any:
    """A value of a row, or of a field of a struct as `image.bytes`."""
    if name in row:
        return row[name]
    outer, _, inner = name.partition(".")
    return (row[outer] or {}).get(inner)
