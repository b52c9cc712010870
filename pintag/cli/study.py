"""`pintag study`: every model compared on one's own data."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click
from rich.markup import escape

from pintag import config
from pintag.cli import console, sources
from pintag.results import Results, Timings


@click.command()
@click.argument("configuration", metavar="CONFIG", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", "data_dir", type=click.Path(path_type=Path), help="The data set's folder.")
@click.option(
    "--out",
    default="runs/study",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The folder of the study.",
)
@click.option("--resume", is_flag=True, help="Go on with the interrupted study at --out.")
@click.option("--overwrite", is_flag=True, help="Replace the study at --out.")
@click.option(
    "--drop-leaks",
    is_flag=True,
    help="Move pictures that lie on two sides of a split to the earlier one.",
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
    """Fit and compare the models in CONFIG on one data set, and keep the best.

    A support vector machine, networks from nothing, transfer models over a grid of settings, and
    fine-tuned ones. Those that validation cannot tell from the best are cross-validated, and the
    winner is explained. --out then has

    \b
      report.html       the report, one file; report.md and figures/ beside it
      results.json      every figure, with its 95 % interval
      timings.json      what it took, on which machine
      bundle/           the best model, ready for `pintag serve`
      gallery/          explanations of its answers

    \b
      pintag study configs/study/pins.yaml --data pins --out runs/study

    Settings and the winner are chosen by the validation split; the test split is only reported on.
    A part that is done is not done again: --resume goes on after Ctrl-C or a crash. A part that
    fails is told with its reason, and the others go on. With RAY_ADDRESS set the trials run on that
    cluster, on any number of nodes that see the data set's folder.
    """
    from train.plan import StudyConfig

    settings = config.load(StudyConfig, configuration, overrides)
    scanned = sources.data_set(data_dir, settings.seed)
    console.err.print(f"{len(scanned)} images, {len(scanned.labels)} labels; working on Ray …")
    console.import_quietly("keras")
    from train import study as studies

    try:
        with console.bars() as bars, contextlib.redirect_stdout(sys.stderr):
            results, timings = studies.run(
                settings,
                scanned,
                out,
                resume=resume,
                overwrite=overwrite,
                drop_leaks=drop_leaks,
                watch=console.Stages(bars).move,
            )
    except KeyboardInterrupt:
        console.err.print("interrupted; the same command with --resume goes on")
        sys.exit(1)
    if as_json:
        console.print_json(results.model_dump(mode="json"))
    else:
        _summarise(results, timings, out)


def _summarise(results: Results, timings: Timings, out: Path) -> None:
    shown = console.table("model", "validation", "test", "95 % interval", "ECE", "fit")
    for entry in results.entries:
        if entry.validation is None or entry.test is None:
            shown.add_row(escape(entry.name), "failed")
            continue
        accuracy = entry.test.accuracy
        shown.add_row(
            escape(entry.name),
            f"{entry.validation.accuracy.value:.2%}",
            f"{accuracy.value:.2%}",
            f"{accuracy.low:.1%} to {accuracy.high:.1%}",
            f"{entry.test.ece.value:.3f}",
            f"{timings.training[entry.name]:.1f} s",
        )
    console.out.print(shown)
    for entry in results.entries:
        if entry.failure:
            told = escape(f"{entry.name} failed: {entry.failure}")
            console.out.print(told, soft_wrap=True)
    for each in results.cross_validation:
        console.out.print(
            f"{len(each.folds)}-fold cross-validation of {escape(each.entry)}:"
            f" {each.mean.value:.2%}, standard deviation {each.deviation:.2%}"
        )
    if leaks := len(results.leaks):
        what = "moved" if results.leaks[0].moved else "left: --drop-leaks moves them"
        console.out.print(f"{leaks} pairs of pictures lie on two sides of a split ({what})")
    if results.data.synthetic:
        console.out.print("synthetic data: the figures say nothing about photographs")
    where = escape(str(out))
    console.out.print(f"best: {escape(str(results.best))}", soft_wrap=True)
    console.out.print(f"  {where}/report.html", soft_wrap=True)
    console.out.print(f"  pintag serve --bundle {where}/bundle", soft_wrap=True)
