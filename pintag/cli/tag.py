"""`pintag tag`: tags for files, folders or standard input, from a bundle or a server."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
import numpy as np
from rich.markup import escape

from pintag import bundle, images
from pintag.cli import console
from pintag.errors import DataError, ImageError, NotAnImageError, ServerError
from pintag.labels import Tag

if TYPE_CHECKING:
    import httpx

# Encoded bytes to tags, and the call that reads them.
Tagger = Callable[[bytes], list[Tag]]
Read = Callable[[], bytes]

_TIMEOUT_SECONDS = 60.0
# How often a full queue is asked before its 503 is reported, and how long it is waited for at most.
_ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 10.0


@click.command()
@click.argument("sources", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--bundle", "bundle_dir", type=click.Path(path_type=Path), help="Tag with a bundle.")
@click.option("--url", help="Tag with a server, such as http://localhost:8000.")
@click.option("--max-tags", default=3, show_default=True, type=click.IntRange(1))
@click.option("--min-confidence", default=0.0, show_default=True, type=click.FloatRange(0, 1))
@console.json_option
def tag(
    sources: tuple[str, ...],
    bundle_dir: Path | None,
    url: str | None,
    max_tags: int,
    min_confidence: float,
    as_json: bool,
) -> None:
    """Tag each IMAGE: a file, a folder of them, or - for standard input.

    An image that cannot be tagged is named, the others are tagged all the same, and the exit code
    is 1.
    """
    if (bundle_dir is None) == (url is None):
        raise click.UsageError("give either --bundle or --url")
    # A server knows its own limit.
    limit = images.DEFAULT_LIMITS.max_bytes if url is None else None
    chosen = [item for source in sources for item in _expand(source, limit)]
    results: list[dict[str, object]] = []
    with (
        _tagger(bundle_dir, url, max_tags, min_confidence) as tagger,
        # On a terminal the answers themselves show how far it is.
        console.progress("tagging", shown=as_json or not console.out.is_terminal) as progress,
    ):
        for done, (name, read) in enumerate(chosen, start=1):
            results.append(_tag_one(name, read, tagger, quiet=as_json))
            progress(done, len(chosen))
    if as_json:
        console.print_json(results)
    if any("error" in result for result in results):
        click.get_current_context().exit(1)


def _tag_one(name: str, read: Read, tagger: Tagger, *, quiet: bool) -> dict[str, object]:
    try:
        tags = tagger(read())
    except ImageError as error:
        console.err.print(f"[red]error:[/] {escape(name)}: {escape(str(error))}", soft_wrap=True)
        return {"image": name, "error": str(error)}
    if not quiet:
        shown = "  ".join(f"{tag.label} {tag.confidence:.1%}" for tag in tags)
        console.out.print(f"{escape(name)}: {escape(shown)}", soft_wrap=True, highlight=False)
    return {"image": name, "tags": [asdict(tag) for tag in tags]}


def _expand(source: str, limit: int | None) -> Iterator[tuple[str, Read]]:
    """The images that an argument means, by name, each with the call that reads its bytes."""
    if source == "-":
        yield "-", lambda: _read(sys.stdin.buffer, limit)
        return
    path = Path(source)
    if path.is_dir():
        found = [
            file for file in sorted(path.rglob("*")) if _is_image(file.relative_to(path), file)
        ]
        if not found:
            raise DataError(f"{path}: no images in this folder ({', '.join(images.SUFFIXES)})")
        for file in found:
            yield str(file), partial(_read_file, file, limit)
    else:
        yield source, partial(_read_file, path, limit)


def _is_image(name: Path, file: Path) -> bool:
    """By its name; what lies in a hidden folder is hidden, too."""
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and name.suffix.lower() in images.SUFFIXES and not file.is_dir()


def _read_file(path: Path, limit: int | None) -> bytes:
    try:
        with path.open("rb") as file:
            return _read(file, limit)
    except OSError as error:
        raise NotAnImageError(error.strerror or str(error)) from error


def _read(file: BinaryIO, limit: int | None) -> bytes:
    """All of it, or one byte more than `limit`: enough to be refused, of a file without end."""
    return file.read(-1 if limit is None else limit + 1)


@contextmanager
def _tagger(
    bundle_dir: Path | None, url: str | None, max_tags: int, min_confidence: float
) -> Iterator[Tagger]:
    if bundle_dir is not None:
        loaded = bundle.load(bundle_dir)
        console.import_quietly("keras")
        engine = loaded.engine()

        def from_bundle(data: bytes) -> list[Tag]:
            pixels = images.decode(data, engine.input_size)
            confidences = engine.predict(pixels[np.newaxis])[0]
            return loaded.labels.top(confidences, max_tags, min_confidence)

        yield from_bundle
        return
    import httpx

    query = {"max_tags": max_tags, "min_confidence": min_confidence}
    try:
        client = httpx.Client(base_url=str(url), params=query, timeout=_TIMEOUT_SECONDS)
    except httpx.InvalidURL as error:
        raise ServerError(f"{url}: no address of a server: {error}") from error
    if client.base_url.scheme not in ("http", "https"):
        raise ServerError(f"{url}: no address of a server; begin with http://")
    with client:
        yield lambda data: _from_server(client, data)


def _from_server(client: httpx.Client, data: bytes) -> list[Tag]:
    """One upload; a full queue is waited for, a refused image is an `ImageError`."""
    import httpx

    headers = {"Content-Type": "application/octet-stream"}
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            response = client.post("/v1/tags", content=data, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServerError(f"{client.base_url}: no answer: {error}") from error
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or attempt == _ATTEMPTS:
            break
        time.sleep(_wait_seconds(response.headers.get("Retry-After", "")))
    try:
        content = response.json()
        if response.is_success:
            return [Tag(str(each["label"]), float(each["confidence"])) for each in content["tags"]]
        problem = f"{content['status']} {content['title']}: {content['detail']}"
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(
            f"{client.base_url}: status {response.status_code}, not an answer of pintag"
        ) from error
    if response.is_client_error:
        raise ImageError(problem)
    raise ServerError(f"{client.base_url}: {problem}")


def _wait_seconds(retry_after: str) -> float:
    """What a server asks for, within bounds; one second when it is a date, or nothing."""
    return min(float(retry_after), _LONGEST_WAIT_SECONDS) if retry_after.isdecimal() else 1.0
