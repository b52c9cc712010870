"""`pintag tag`: tags for files, folders or standard input, from a bundle or a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click
import numpy as np
from rich.markup import escape

from pintag import images, registry
from pintag.cli import client, console, sources
from pintag.cli.sources import Read
from pintag.errors import ImageError
from pintag.labels import Tag

# Encoded bytes to tags.
Tagger = Callable[[bytes], list[Tag]]


@click.command()
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--bundle", "place", help="Tag with a bundle.")
@click.option(
    "--url", help="Tag with a server, such as http://localhost:8000; its key is in PINTAG_KEY."
)
@click.option("--max-tags", default=3, show_default=True, type=click.IntRange(1))
@click.option("--min-confidence", default=0.0, show_default=True, type=click.FloatRange(0, 1))
@console.json_option
def tag(
    names: tuple[str, ...],
    place: str | None,
    url: str | None,
    max_tags: int,
    min_confidence: float,
    as_json: bool,
) -> None:
    """Tag each IMAGE: a file, a folder of them, or - for standard input.

    An image that cannot be tagged is named, the others are tagged all the same, and the exit code
    is 1.
    """
    if (place is None) == (url is None):
        raise click.UsageError("give either --bundle or --url")
    chosen = sources.expand(names, limited=url is None)
    results: list[dict[str, object]] = []
    with (
        _tagger(place, url, max_tags, min_confidence) as tagger,
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
        return sources.failed(name, error)
    if not quiet:
        shown = "  ".join(f"{tag.label} {tag.confidence:.1%}" for tag in tags)
        console.out.print(f"{escape(name)}: {escape(shown)}", soft_wrap=True, highlight=False)
    return {"image": name, "tags": [asdict(tag) for tag in tags]}


@contextmanager
def _tagger(
    place: str | None, url: str | None, max_tags: int, min_confidence: float
) -> Iterator[Tagger]:
    if place is not None:
        loaded = registry.load(place)
        console.import_quietly("keras")
        engine = loaded.engine()

        def from_bundle(data: bytes) -> list[Tag]:
            pixels = images.decode(data, engine.input_size)
            confidences = engine.predict(pixels[np.newaxis])[0]
            return loaded.labels.top(confidences, max_tags, min_confidence)

        yield from_bundle
        return
    query = {"max_tags": max_tags, "min_confidence": min_confidence}
    with client.connect(str(url), "/v1/tags", query) as server:
        yield lambda data: server.post(data, _tags)


def _tags(answer: Any) -> list[Tag]:
    return [Tag(str(each["label"]), float(each["confidence"])) for each in answer["tags"]]
