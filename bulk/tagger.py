"""One actor of the pool: a part in, a Parquet file out."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bulk import listing
from bulk.listing import Listing, Source
from bulk.store import Store, is_remote
from pintag import bundle, images
from pintag.engine import configure_gpu, configure_threads
from pintag.errors import DataError, ImageError
from pintag.images import Pixels

RESULT = "part-{number:06}.parquet"
BATCH = 16
# Read ahead of the engine: enough to hide a slow store, and some megabytes at most.
_AHEAD = 4 * BATCH
_READERS = 8

Item = TypeVar("Item")
Result = TypeVar("Result")
Row = dict[str, Any]


@dataclass(frozen=True)
class Tagging:
    """What is tagged, by what, and where the answers go."""

    source: Source
    bundle: str
    out: str
    max_tags: int = 5
    min_confidence: float = 0.0


class Tagger:
    """Tags parts, one after the other."""

    def __init__(self, tagging: Tagging, listed: Listing) -> None:
        self._tagging, self._listed = tagging, listed
        loaded = bundle.load(Path(tagging.bundle))
        choice = loaded.choose()
        if choice.kind == "tensorflow":
            configure_threads(1)
            configure_gpu()
        # One core is what an actor is given.
        self._engine = loaded.engine(choice, threads=1)
        self._labels, self._version = loaded.labels, loaded.manifest.version
        self._out = Store(tagging.out)
        self._stores: dict[str, Store] = {}
        self._pool = ThreadPoolExecutor(_READERS)

    def __call__(self, row: Row) -> Row:
        """Tag the part of a number, and say how many images it had, and how many were bad."""
        number = int(row["part"])
        rows: list[Row] = []
        decoded = ahead(self._pool, self._decoded, self._items(number), _AHEAD)
        for batch in listing.batches(decoded, BATCH):
            rows += self._rows(batch)
        self._write(number, rows)
        bad = sum(each["error"] is not None for each in rows)
        return {"part": number, "images": len(rows), "errors": bad}

    def _items(self, number: int) -> Iterator[tuple[str, bytes | None]]:
        """The images of a part: what they are called, and their bytes where these are known."""
        if not self._listed.groups:
            yield from ((uri, None) for uri in listing.read(self._out, number))
            return
        import pyarrow.parquet

        source = self._tagging.source
        path, group, first = self._listed.groups[number]
        store = Store(source.place)
        columns = [source.column, *([source.uri_column] if source.uri_column else [])]
        with pyarrow.parquet.ParquetFile(store.open(path)) as file:
            for batch in file.iter_batches(BATCH, row_groups=[group], columns=columns):
                for place, row in enumerate(batch.to_pylist(), start=first):
                    name = row[source.uri_column] if source.uri_column else None
                    yield str(name or f"{store.uri(path)}#{place}"), row[source.column] or b""
                first += batch.num_rows

    def _decoded(self, item: tuple[str, bytes | None]) -> tuple[str, Pixels | str]:
        """An image's pixels, or what is wrong with it."""
        uri, data = item
        try:
            content = self._read(uri) if data is None else data
            return uri, images.decode(content, self._engine.input_size)
        except (ImageError, DataError) as error:
            return uri, str(error)

    def _read(self, uri: str) -> bytes:
        if not is_remote(uri):
            return _local(Path(uri))
        store = self._store(uri)
        return store.read(uri.partition("://")[2])

    def _store(self, uri: str) -> Store:
        bucket = "/".join(uri.split("/")[:3])
        if bucket not in self._stores:
            # That of the source knows how its bucket is reached; others are found by their name.
            own = Store(self._tagging.source.place)
            mine = own.scheme and own.uri(own.root).startswith(bucket)
            self._stores[bucket] = own if mine else Store(bucket)
        return self._stores[bucket]

    def _rows(self, batch: Sequence[tuple[str, Pixels | str]]) -> list[Row]:
        good = [pixels for _, pixels in batch if not isinstance(pixels, str)]
        found = iter(self._engine.predict(np.stack(good)) if good else ())
        rows = []
        for uri, pixels in batch:
            row: Row = {"uri": uri, "labels": None, "confidences": None, "error": None}
            if isinstance(pixels, str):
                row["error"] = pixels
            else:
                tags = self._labels.top(
                    next(found), self._tagging.max_tags, self._tagging.min_confidence
                )
                row["labels"] = [tag.label for tag in tags]
                row["confidences"] = [tag.confidence for tag in tags]
            rows.append(row | {"version": self._version})
        return rows

    def _write(self, number: int, rows: list[Row]) -> None:
        import pyarrow
        import pyarrow.parquet

        content = io.BytesIO()
        table = pyarrow.Table.from_pylist(rows, schema=schema())
        pyarrow.parquet.write_table(table, content, compression="zstd")
        self._out.write(RESULT.format(number=number), content.getvalue())


def schema() -> Any:
    """Of the files that are written."""
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


def ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    most: int,
) -> Iterator[Result]:
    """The function's results, in order; at most so many are computed or waiting at once."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        if len(waiting) == most:
            yield waiting.popleft().result()
        waiting.append(pool.submit(function, item))
    while waiting:
        yield waiting.popleft().result()


def _local(path: Path) -> bytes:
    try:
        # Before it is read whole.
        images.check_bytes(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error
