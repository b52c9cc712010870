"""`pintag bulk`: tag a whole catalogue and write the tags as Parquet."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pintag.cli import console
from pintag.cli.console import escape
from pintag.core import formatting
from pintag.core.store import absolute
from pintag.models import remote
from pintag.models.registry import Registry

if TYPE_CHECKING:
    from pintag.bulk.job import JobSummary


SOME_FAILED = 3
"""The exit code of a job that is complete, with images that could not be tagged."""


@click.command(short_help="Tag a whole catalogue with Ray Data and write Parquet.")
@click.argument("source", metavar="INPUT")
@click.option("--bundle", required=True, help="A bundle or a registry: a folder or a URI.")
@click.option("--out", required=True, help="The folder or URI for the results.")
@click.option(
    "--column",
    default="image",
    show_default=True,
    help="The column of a Parquet INPUT with the bytes, or the paths or URIs, of images.",
)
@click.option(
    "--uri-column",
    default="",
    help="The column with names for rows of bytes.  [default: FILE#ROW]",
)
@console.tag_options(max_tags=5)
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
    """Tag every image of INPUT, on all cores of this machine or of the cluster of RAY_ADDRESS.

    \b
    INPUT is one of:
      a folder of images; their content counts, not the ending of their names
      a list file with a path or a URI in each line
      a Parquet file, or a folder of them, with a column of bytes, paths or URIs, or Hugging Face's
      column of images
    INPUT and --out may be URIs: s3://bucket/prefix or gs://bucket/prefix.

    \b
    Examples:
      pintag bulk pictures/ --bundle runs/pins --out tags
      pintag bulk s3://shop/images --bundle s3://shop/models/pins --out s3://shop/tags

    The results are Parquet files with the columns uri, labels, confidences, version (of the bundle)
    and error. An image that cannot be tagged has an error and no labels; if there is one, the exit
    code is 3. If the job is interrupted, run the same command again: it continues, and the results
    contain every image once.
    """
    started = time.monotonic()
    summary = _run(source, column, uri_column, bundle, out, max_tags, min_confidence)
    seconds = time.monotonic() - started
    if as_json:
        _print_json(out, summary, seconds)
    else:
        _print(out, summary, seconds)
    if summary.errors:
        click.get_current_context().exit(SOME_FAILED)


def _print_json(out: str, summary: JobSummary, seconds: float) -> None:
    report = asdict(summary) | {"left_out": dict(summary.left_out)}
    console.print_json({"out": out, "seconds": seconds, **report})


def _print(out: str, summary: JobSummary, seconds: float) -> None:
    for reason, count in summary.left_out:
        console.err.print(f"[yellow]left out:[/] {count:,} ({escape(reason)})", soft_wrap=True)
    failed = "no errors"
    if summary.errors:
        failed = f"{formatting.count(summary.errors, 'image')} without tags: see the column error"
    rate = ""
    if summary.tagging_s:
        per_second = summary.tagged / summary.tagging_s
        rate = f" ({per_second:.0f} per second without the start of Ray)"
    console.out.print(
        f"{escape(out)}: {formatting.count(summary.images, 'image')}, {summary.tagged:,} of them "
        f"processed now in {seconds:.1f} s{rate}; {failed}",
        soft_wrap=True,
    )


def _run(
    source: str,
    column: str,
    uri_column: str,
    bundle: str,
    out: str,
    max_tags: int,
    min_confidence: float,
) -> JobSummary:
    uri = Registry(absolute(bundle)).resolve()
    loaded = remote.load(uri)
    # After the bundle is verified, because Ray takes seconds to import.
    from pintag.bulk import job
    from pintag.bulk.listing import InputSource
    from pintag.bulk.tagger import TaggingSettings

    settings = TaggingSettings(
        source=InputSource(source, column, uri_column),
        bundle=uri,
        out=out,
        max_tags=max_tags,
        min_confidence=min_confidence,
    )
    console.err.print("tagging on Ray …")
    with console.progress("tagging") as progress:
        return job.run(settings, loaded.manifest.version, progress)
