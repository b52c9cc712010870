"""`pintag study`: compare many models on a data set."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pintag.cli import console, sources
from pintag.cli.configured_command import ConfiguredCommand
from pintag.cli.console import escape
from pintag.core import config
from pintag.core.quiet import import_quietly
from pintag.report.results import ModelResult, Results, Timings

if TYPE_CHECKING:
    from pintag.train.study.study_store import StudyStore

_HELP = """Train and compare the models in CONFIG on one data set, and keep the best one.

The study trains a support vector machine, networks from scratch, transfer models over a grid of
settings, and fine-tuned models. It cross-validates the models that the validation split cannot
distinguish from the best one, and explains predictions of the winner. It writes into --out:

\b
  report.html       the report in one file; report.md and figures/ have the same content
  results.json      all results, with 95 % intervals
  timings.json      durations, and the machine
  bundle/           the best model, for `pintag serve`
  gallery/          explanations of its predictions

\b
Example:
  pintag study configs/study/pins.yaml --data pins --out runs/study

Settings and the winner are chosen on the validation split; the test split is only reported.
Finished parts are saved: --resume continues after Ctrl-C or a crash. If a model fails, the report
has the reason and the study continues. If RAY_ADDRESS is set, the trials run on that Ray cluster;
all nodes must see the folder of the data set.
"""


@click.command(
    help=_HELP,
    short_help="Compare many models on one data set, and keep the best.",
    cls=ConfiguredCommand,
    configuration="pintag.train.study.plan:StudyConfig",
)
@click.argument("configuration", metavar="CONFIG", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--data", "data_dir", type=click.Path(path_type=Path), help="The data set.  [default: ./data]"
)
@click.option(
    "--out",
    default="runs/study",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The folder of the study.",
)
@click.option("--resume", is_flag=True, help="Continue the study at --out, if one was begun.")
@click.option("--overwrite", is_flag=True, help="Replace the study at --out.")
@click.option(
    "--drop-leaks",
    is_flag=True,
    help="Move images that are in two splits to the earlier split.",
)
@console.json_option
def study(
    configuration: Path,
    overrides: tuple[str, ...],
    data_dir: Path | None,
    out: Path,
    resume: bool,
    overwrite: bool,
    drop_leaks: bool,
    as_json: bool,
) -> None:
    from pintag.train.study.plan import StudyConfig
    from pintag.train.study.study_store import StudyStore

    settings = config.load(StudyConfig, configuration, overrides)
    _check(StudyStore(out), resume=resume, overwrite=overwrite)
    scanned = sources.data_set(data_dir, settings.seed)
    console.err.print(f"{len(scanned)} images, {len(scanned.labels)} labels; working on Ray …")
    import_quietly("keras")
    from pintag.train.study import runner

    try:
        with console.bars() as bars, contextlib.redirect_stdout(sys.stderr):
            results, timings = runner.run(
                settings,
                scanned,
                out,
                resume=resume,
                overwrite=overwrite,
                drop_leaks=drop_leaks,
                on_progress=console.Stages(bars).move,
            )
    except KeyboardInterrupt:
        console.err.print("interrupted; run the same command with --resume to continue the study")
        sys.exit(1)
    if as_json:
        console.print_json(results.model_dump(mode="json"))
    else:
        _summarise(results, timings, out)


def _check(store: StudyStore, *, resume: bool, overwrite: bool) -> None:
    """Check the folder first, because reading the images takes seconds."""
    store.check(resume=resume, overwrite=overwrite)
    if resume and not store.is_begun:
        console.err.print("there is no study to resume: a new one begins")


def _summarise(results: Results, timings: Timings, out: Path) -> None:
    table = console.table("model", "validation", "test", "95 % interval", "ECE", "training")
    for entry in results.entries:
        table.add_row(escape(entry.name), *_cells(entry, timings))
    console.out.print(table)
    _print_notes(results)
    path = escape(str(out))
    console.out.print(f"best: {escape(str(results.best))}", soft_wrap=True)
    console.out.print(f"  {path}/report.html", soft_wrap=True)
    console.out.print(f"  pintag serve --bundle {path}/bundle", soft_wrap=True)


def _cells(entry: ModelResult, timings: Timings) -> list[str]:
    """The figures of a model."""
    if entry.validation is None or entry.test is None:
        return ["failed"]
    accuracy = entry.test.accuracy
    return [
        f"{entry.validation.accuracy.value:.2%}",
        f"{accuracy.value:.2%}",
        f"{accuracy.low:.1%} to {accuracy.high:.1%}",
        f"{entry.test.ece.value:.3f}",
        f"{timings.training[entry.name]:.1f} s",
    ]


def _print_notes(results: Results) -> None:
    for entry in results.entries:
        if entry.failure:
            message = escape(f"{entry.name} failed: {entry.failure}")
            console.out.print(message, soft_wrap=True)
    for scores in results.cross_validation:
        console.out.print(
            f"{len(scores.folds)}-fold cross-validation of {escape(scores.entry)}:"
            f" {scores.mean.value:.2%}, standard deviation {scores.deviation:.2%}"
        )
    if leaks := len(results.leaks):
        action = "moved" if results.leaks[0].moved else "kept: --drop-leaks moves them"
        console.out.print(f"pairs of duplicates in two splits: {leaks} ({action})")
    if results.data.synthetic:
        console.out.print("synthetic data: the scores say nothing about photographs")
