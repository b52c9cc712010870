"""`pintag bulk`: the tags of a whole catalogue, as Parquet."""

from __future__ import annotations

import time
from dataclasses import asdict

import click
from rich.markup import escape

from pintag import remote
from pintag.cli import console
from pintag.registry import Registry
from pintag.store import absolute


@click.command()
@click.argument("source", metavar="INPUT")
@click.option("--bundle", required=True)
@click.option("--out", required=True, help="A folder for the results, s3://… and gs://… included.")
@click.option("--column", default="image", show_default=True, help="Of a Parquet INPUT.")
@click.option("--uri-column", default="", help="What rows of bytes are called.")
@click.option("--max-tags", default=5, show_default=True, type=click.IntRange(1))
@click.option("--min-confidence", default=0.0, show_default=True, type=click.FloatRange(0, 1))
@console.json_option
def bulk(
    source: str,
    bundle: str,
    out: str,
    column: str,
    uri_column: str,
    max_tags: int,
    min_confidence: float,
    as_json: bool,
) -> None:
    """Tag every image of INPUT, on all cores or the cluster of RAY_ADDRESS.

    \b
    INPUT is one of
      a folder of images, s3://bucket/prefix and gs://bucket/prefix included
      a list file: a path or a URI in each line
      a Parquet file, or a folder of them: a column of bytes, or of paths or URIs

    OUT gets Parquet files with uri, labels, confidences, version (of the bundle) and error. An
    image that cannot be tagged is a row with its error. Interrupted, the same command goes on, and
    in the end every input is there once.
    """
    place = Registry(absolute(bundle)).resolve()
    loaded = remote.load(place)
    from bulk import job
    from bulk.listing import Source
    from bulk.tagger import Tagging

    tagging = Tagging(
        source=Source(source, column, uri_column),
        bundle=place,
        out=out,
        max_tags=max_tags,
        min_confidence=min_confidence,
    )
    started = time.monotonic()
    with console.progress("tagging") as progress:
        done = job.run(tagging, loaded.manifest.version, progress)
    seconds = time.monotonic() - started
    if as_json:
        console.print_json({"out": out, "seconds": seconds, **asdict(done)})
        return
    console.out.print(
        f"{escape(out)}: {done.images} images; {done.tagged} tagged now in"
        f" {seconds:.1f} s, {done.tagged / seconds:.0f} a second; {done.errors} have an error",
        soft_wrap=True,
    )
