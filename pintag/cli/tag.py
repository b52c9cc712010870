"""`pintag tag`: tag files, folders or standard input, with a bundle or a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from pintag.cli import client, console, sources
from pintag.cli.console import escape
from pintag.cli.sources import Read
from pintag.core.errors import ImageError
from pintag.data.labels import Tag
from pintag.tagger import load

TagBytes = Callable[[bytes], list[Tag]]
"""Maps an encoded image to its tags."""


@click.command(short_help="Tag images with a bundle or a server.")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--bundle", help="Tag with a bundle or a registry: a folder or a URI.")
@click.option(
    "--url",
    help="Tag with a server, such as http://localhost:8000. Set its API key in PINTAG_KEY.",
)
@console.tag_options(max_tags=3)
@console.json_option
def tag(
    names: tuple[str, ...],
    bundle: str | None,
    url: str | None,
    max_tags: int,
    min_confidence: float,
    as_json: bool,
) -> None:
    """Print the tags of each IMAGE: a file, a folder of images, or - for standard input.

    \b
    Examples:
      pintag tag cat.jpg --bundle runs/pins
      pintag tag pictures/ --bundle s3://bucket/models/pins --json
      pintag tag - --url http://localhost:8000 < cat.jpg

    If an image cannot be tagged, the command prints an error for it, continues with the others, and
    exits with code 1.
    """
    if (bundle is None) == (url is None):
        raise click.UsageError("give either --bundle or --url")
    chosen = sources.expand(names, limited=url is None)
    results: list[dict[str, Any]] = []
    with (
        _tagger(bundle, url, max_tags, min_confidence) as tag_bytes,
        # On a terminal, the printed tags show the progress.
        console.progress("tagging", shown=as_json or not console.out.is_terminal) as progress,
    ):
        for done, (name, read) in enumerate(chosen, start=1):
            result = _tag_one(name, read, tag_bytes)
            results.append(result)
            if not as_json and "tags" in result:
                _print(name, result["tags"], min_confidence)
            progress(done, len(chosen))
    if as_json:
        console.print_json(results)
    if any("error" in result for result in results):
        click.get_current_context().exit(1)


def _tag_one(name: str, read: Read, tag_bytes: TagBytes) -> dict[str, Any]:
    try:
        tags = tag_bytes(read())
    except ImageError as error:
        return sources.failed(name, error)
    return {"image": name, "tags": [asdict(tag) for tag in tags]}


def _print(name: str, tags: Sequence[dict[str, Any]], min_confidence: float) -> None:
    line = "  ".join(f"{tag['label']} {tag['confidence']:.1%}" for tag in tags)
    if not tags:
        line = f"no label reaches {min_confidence:.1%}"
    console.out.print(f"{escape(name)}: {escape(line)}", soft_wrap=True)


@contextmanager
def _tagger(
    bundle: str | None, url: str | None, max_tags: int, min_confidence: float
) -> Iterator[TagBytes]:
    if bundle is not None:
        yield partial(load(bundle).tag, max_tags=max_tags, min_confidence=min_confidence)
        return
    query = {"max_tags": max_tags, "min_confidence": min_confidence}
    with client.connect(str(url), "/v1/tags", query) as server:
        yield lambda data: server.post(data, _parse)


def _parse(answer: Any) -> list[Tag]:
    return [Tag(str(tag["label"]), float(tag["confidence"])) for tag in answer["tags"]]
