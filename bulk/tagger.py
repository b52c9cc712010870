"""The actor of a bulk job: it reads a part, tags its images and writes a Parquet file."""

from __future__ import annotations

import io
import logging
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pintag.bulk import listing, tables
from pintag.bulk.listing import InputSource, Listing
from pintag.bulk.tables import Content
from pintag.core import text
from pintag.core.errors import DataError, ImageError, PintagError
from pintag.core.store import Store, bucket, is_remote, key, local
from pintag.core.types import Pixels
from pintag.images import decoding
from pintag.models import remote
from pintag.models.engines.tensorflow import configure_gpu, configure_threads

log = logging.getLogger("pintag.bulk")
RESULT = "part-{number:06}.parquet"
BATCH = 16
# Batches to read and decode in advance, one thread for each. Object storage needs many, to hide its
# latency; they take a few megabytes of memory. Threads that share one core cost 2 % of its speed.
_PREFETCH_LOCAL, _PREFETCH_REMOTE = 2, 16

Task = TypeVar("Task")
Result = TypeVar("Result")
Row = dict[str, Any]
Item = tuple[str, Content, str]
"""The name of an image in the results, its content, and the path or URI to read it from if there is
none."""
Decoded = tuple[str, Pixels | str]
"""The name of an image, and its pixels or an error message."""


@dataclass(frozen=True)
class TaggingSettings:
    """The settings of a bulk job."""

    source: InputSource
    bundle: str
    """The bundle's folder or URI; every actor loads it."""
    out: str
    """The folder or URI for the results."""
    max_tags: int = 5
    min_confidence: float = 0.0


class BulkTagger:
    """The actor: makes a `PartTagger` at its first call, and tags one part per call.

    Its errors are values. An exception would reach the driver inside several exceptions of Ray,
    without its class, and Ray would print its traceback.
    """

    def __init__(self, settings: TaggingSettings, parts: Listing) -> None:
        self._make = partial(PartTagger, settings, parts)
        self._tagger: PartTagger | None = None

    def __call__(self, row: Row) -> Row:
        """Tag part number `row["part"]`; return its numbers of images and of errors.

        If `row["isolated"]`, no image can end this process: each is decoded in another one. If the
        part cannot be tagged or written, `failed` is the reason; otherwise it is empty.
        """
        try:
            self._tagger = self._tagger or self._make()
            return self._tagger.tag(row["part"], isolated=row["isolated"]) | {"failed": ""}
        except PintagError as error:
            failed = str(error)
        # Ray Data would count it as a lost part.
        except Exception as error:
            log.exception("part %d cannot be tagged", row["part"])
            failed = f"part {row['part']} cannot be tagged: {error!r}"
        return {"part": row["part"], "images": 0, "errors": 0, "failed": text.valid(failed)}


class PartTagger:
    """Loads the bundle once, then tags parts and writes their result files."""

    def __init__(self, settings: TaggingSettings, parts: Listing) -> None:
        self._settings, self._parts = settings, parts
        bundle = remote.load(settings.bundle)
        choice = bundle.choose()
        if choice.kind == "tensorflow":
            configure_threads(1)
            configure_gpu()
        # Ray reserves one core for each actor.
        self._engine = bundle.engine(choice, threads=1, sizes=[BATCH])
        self._labels, self._version = bundle.labels, bundle.manifest.version
        self._out = Store(settings.out)
        self._stores: dict[str, Store] = {}
        self._pool = ThreadPoolExecutor(_PREFETCH_REMOTE)

    def tag(self, number: int, *, isolated: bool) -> Row:
        """Tag a part; return its numbers of images and of errors.

        Args:
            isolated: decode each image in another process, whose end is the error of the image.

        Raises:
            DataError: the listing or the table cannot be read, or the result cannot be written.
        """
        rows: list[Row] = []
        items, prefetch = self._items(number)
        batches = listing.batches(items, BATCH)
        decode = partial(self._decode_all, isolated=isolated)
        for batch in map_ahead(self._pool, decode, batches, prefetch):
            rows += self._rows(batch)
        self._write(number, rows)
        errors = sum(row["error"] is not None for row in rows)
        return {"part": number, "images": len(rows), "errors": errors}

    def _items(self, number: int) -> tuple[Iterable[Item], int]:
        """The images of a part, and the number of batches to read in advance."""
        if self._parts.groups:
            return self._row_group(number), _PREFETCH_LOCAL
        uris = listing.read(self._out, number)
        prefetch = _PREFETCH_REMOTE if any(map(is_remote, uris)) else _PREFETCH_LOCAL
        return ((uri, None, uri) for uri in uris), prefetch

    def _row_group(self, number: int) -> Iterator[Item]:
        source = self._settings.source
        path, group, first = self._parts.groups[number]
        store = Store(source.uri)
        rows = tables.images(store, path, group, source.table_column, BATCH)
        for index, (name, data, inner) in enumerate(rows, start=first):
            # A name may be 0 or any other value of a column.
            uri = f"{store.file_uri(path)}#{index}" if _is_missing(name) else _name(name)
            yield uri, data, store.beside(path, inner) if inner else ""

    def _decode_all(self, items: Sequence[Item], *, isolated: bool) -> list[Decoded]:
        return [self._decode(*item, isolated=isolated) for item in items]

    def _decode(self, uri: str, content: Content, path: str, *, isolated: bool) -> Decoded:
        try:
            if isinstance(content, DataError):
                raise content
            data = self._read(path) if content is None else content
            return uri, decoding.decode(data, self._engine.input_size, isolated=isolated)
        # ValueError: a path contains a NUL character, or is not a URI.
        except (ImageError, DataError, ValueError) as error:
            return uri, text.valid(str(error))

    def _read(self, path: str) -> bytes:
        if not path:
            raise DataError("there is no image: the value is missing")
        path = local(path)
        if not is_remote(path):
            return _read_local(Path(path))
        return self._store(path).read(key(path))

    def _store(self, uri: str) -> Store:
        name = bucket(uri)
        if name not in self._stores:
            # The source's URI has the connection options of its own bucket.
            source = self._settings.source.uri
            same = is_remote(source) and bucket(source) == name
            self._stores[name] = Store(source if same else name)
        return self._stores[name]

    def _rows(self, batch: Sequence[Decoded]) -> list[Row]:
        decoded = [pixels for _, pixels in batch if not isinstance(pixels, str)]
        confidences = iter(self._engine.predict(np.stack(decoded)) if decoded else ())
        rows = []
        for uri, pixels in batch:
            row: Row = {"uri": uri, "labels": None, "confidences": None, "error": None}
            if isinstance(pixels, str):
                row["error"] = pixels
            else:
                tags = self._labels.top(
                    next(confidences), self._settings.max_tags, self._settings.min_confidence
                )
                row["labels"] = [tag.label for tag in tags]
                row["confidences"] = [tag.confidence for tag in tags]
            rows.append(row | {"version": self._version})
        return rows

    def _write(self, number: int, rows: list[Row]) -> None:
        import pyarrow.parquet

        content = io.BytesIO()
        table = pyarrow.Table.from_pylist(rows, schema=schema())
        pyarrow.parquet.write_table(table, content, compression="zstd")
        self._out.write(RESULT.format(number=number), content.getvalue())


def schema() -> Any:
    """The Arrow schema of the output files."""
    import pyarrow

    return pyarrow.schema(
        {
            "uri": pyarrow.string(),
            "labels": pyarrow.list_(pyarrow.string()),
            "confidences": pyarrow.list_(pyarrow.float32()),
            "version": pyarrow.string(),
            "error": pyarrow.string(),
        }
    )


def map_ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    prefetch: int,
) -> Iterator[Result]:
    """Like `map`, computed by the pool; at most `prefetch` results are pending at a time."""
    pending: deque[Future[Result]] = deque()
    for task in tasks:
        if len(pending) == prefetch:
            yield pending.popleft().result()
        pending.append(pool.submit(function, task))
    while pending:
        yield pending.popleft().result()


def _is_missing(value: object) -> bool:
    """Whether a row has no name: None, or NaN, which no number equals."""
    return value is None or value != value


def _name(value: object) -> str:
    """The name of a row: any value of a column, as text."""
    # pandas stores integers as floats if one of them is missing.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _read_local(path: Path) -> bytes:
    try:
        status = path.stat()
        # Reading a pipe would wait for a writer, perhaps for ever.
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise DataError("cannot be read: neither a file nor a folder")
        # Refuse a huge file before it is read into memory.
        decoding.check_bytes(status.st_size)
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error
