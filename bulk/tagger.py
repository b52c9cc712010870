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
from pintag import images, remote
from pintag.engine import configure_gpu, configure_threads
from pintag.errors import DataError, ImageError
from pintag.images import Pixels
from pintag.store import Store, is_remote

RESULT = "part-{number:06}.parquet"
BATCH = 16
# Batches read and decoded ahead of the engine, each in a thread of its own: enough to hide how long
# a store takes, and some megabytes at most. Threads that share a core cost a fiftieth of it.
_AHEAD_OF_FILES, _AHEAD_OF_STORE = 2, 16

Task = TypeVar("Task")
Result = TypeVar("Result")
Row = dict[str, Any]
# What an image is called, and its bytes where these are known.
Item = tuple[str, bytes | None]
# What an image is called, and its pixels or what is wrong with it.
Decoded = tuple[str, Pixels | str]


@dataclass(frozen=True)
class Tagging:
    """What is tagged, by what, and where the answers go."""

    source: Source
    bundle: str
    """Its folder or URI, which every actor reads for itself."""
    out: str
    max_tags: int = 5
    min_confidence: float = 0.0


class Tagger:
    """Tags parts, one after the other."""

    def __init__(self, tagging: Tagging, listed: Listing) -> None:
        self._tagging, self._listed = tagging, listed
        loaded = remote.load(tagging.bundle)
        choice = loaded.choose()
        if choice.kind == "tensorflow":
            configure_threads(1)
            configure_gpu()
        # One core is what an actor is given.
        self._engine = loaded.engine(choice, threads=1, sizes=[BATCH])
        self._labels, self._version = loaded.labels, loaded.manifest.version
        self._out = Store(tagging.out)
        self._stores: dict[str, Store] = {}
        self._pool = ThreadPoolExecutor(_AHEAD_OF_STORE)

    def __call__(self, row: Row) -> Row:
        """Tag the part of a number, and say how many images it had, and how many were bad."""
        number = int(row["part"])
        rows: list[Row] = []
        items, most = self._items(number)
        batches = listing.batches(items, BATCH)
        for batch in ahead(self._pool, self._decoded, batches, most):
            rows += self._rows(batch)
        self._write(number, rows)
        bad = sum(each["error"] is not None for each in rows)
        return {"part": number, "images": len(rows), "errors": bad}

    def _items(self, number: int) -> tuple[Iterable[Item], int]:
        """The images of a part, and how many batches of them are worth reading ahead."""
        if self._listed.groups:
            return self._in_table(number), _AHEAD_OF_FILES
        uris = listing.read(self._out, number)
        most = _AHEAD_OF_STORE if any(map(is_remote, uris)) else _AHEAD_OF_FILES
        return ((uri, None) for uri in uris), most

    def _in_table(self, number: int) -> Iterator[Item]:
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

    def _decoded(self, items: Sequence[Item]) -> list[Decoded]:
        return [self._pixels(*item) for item in items]

    def _pixels(self, uri: str, data: bytes | None) -> Decoded:
        """An image's, or what is wrong with it."""
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

    def _rows(self, batch: Sequence[Decoded]) -> list[Row]:
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
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    most: int,
) -> Iterator[Result]:
    """The function's results, in order; at most so many are computed or waiting at once."""
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        if len(waiting) == most:
            yield waiting.popleft().result()
        waiting.append(pool.submit(function, task))
    while waiting:
        yield waiting.popleft().result()


def _local(path: Path) -> bytes:
    try:
        # Before it is read whole.
        images.check_bytes(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error
