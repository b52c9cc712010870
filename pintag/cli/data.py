"""`pintag data`: draw a sample data set, and check data sets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
from rich.table import Table

from pintag.cli import console
from pintag.cli.console import escape
from pintag.core import text
from pintag.data import dataset, inspection
from pintag.data.dataset import SPLITS, DataSet
from pintag.data.inspection import Duplicates, Inspection

# Of more labels than this, only the first ones are printed.
_LABELS = 100


@click.group(short_help="Draw a sample data set, or check your own.")
def data() -> None:
    """Draw a sample data set, or check your own.

    \b
    Examples:
      pintag data sample demo/data
      pintag data check pins
    """


@data.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=console.SEED,
    help="Another seed gives other images.",
)
@click.option(
    "--per-label",
    default=60,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Training images per label. Validation and test each get a quarter of this number.",
)
@console.json_option
def sample(out: Path, seed: int, per_label: int, as_json: bool) -> None:
    """Draw a small SYNTHETIC data set of eight labels into the folder OUT.

    With it you can try every command without photographs. Scores on it say nothing about
    photographs.

    \b
    Example:
      pintag data sample demo/data --per-label 20
    """
    from pintag.data import sample as drawing

    held_out = max(1, per_label // 4)
    counts = {dataset.TRAIN: per_label, dataset.VALIDATION: held_out, dataset.TEST: held_out}
    with console.progress("drawing") as progress:
        count = drawing.write(out, seed=seed, counts=counts, progress=progress)
    if as_json:
        console.print_json({"path": str(out), "images": count, "seed": seed, "synthetic": True})
    else:
        path = escape(str(out))
        console.out.print(f"{count} synthetic images in {path} (seed {seed})", soft_wrap=True)


@data.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=console.SEED,
    help="The seed for dividing a data set that has no split folders.",
)
@click.option("--all", "show_all", is_flag=True, help="Print every line, however many there are.")
@console.json_option
def check(directory: Path, seed: int, show_all: bool, as_json: bool) -> None:
    """Check the data set in the folder DIR.

    \b
    The folder has one of these layouts:
      DIR/train/LABEL/*.jpg, and the same for validation and test
      DIR/LABEL/*.jpg, which is divided into splits by --seed

    The command counts images by split and label, and reports unreadable files, equal files, what is
    left out (hidden files, metadata of operating systems, links that lead nowhere), and labels with
    many more images than others. Of each kind it prints the first lines and the number of the
    others. It exits with code 1 if no model can be trained on the data set.

    \b
    Example:
      pintag data check pins
    """
    with console.progress("reading") as progress:
        scanned = dataset.scan(directory, seed=seed, progress=progress)
    result = inspection.inspect(scanned)
    if as_json:
        console.print_json(_to_json(scanned, result))
    else:
        _show(scanned, result, None if show_all else console.MOST)
    if not result.usable:
        click.get_current_context().exit(1)


def _to_json(scanned: DataSet, result: Inspection) -> dict[str, object]:
    return {
        "usable": result.usable,
        "fingerprint": scanned.fingerprint,
        "synthetic": scanned.is_synthetic,
        "counts": result.counts,
        "unreadable": [
            {"path": str(file.path), "reason": file.reason} for file in result.unreadable
        ],
        "not_utf8": sum(not text.is_utf8(str(example.path)) for example in scanned.examples),
        "left_out": [{"path": str(item.path), "reason": item.reason} for item in scanned.left_out],
        "duplicates": [
            [
                {"split": split, "label": label, "path": str(path)}
                for split, label, path in group.files
            ]
            for group in result.duplicates
        ],
        # JSON has no infinity.
        "imbalance": result.imbalance if result.imbalance != float("inf") else None,
        "problems": result.problems,
        "warnings": result.warnings,
    }


def _show(scanned: DataSet, result: Inspection, most: int | None) -> None:
    """Print the result; of each list at most `most` lines, or all."""
    kind = " (synthetic)" if scanned.is_synthetic else ""
    console.out.print(f"{escape(scanned.root)}{kind}", soft_wrap=True)
    console.out.print(_counts(scanned, result, most and _LABELS))
    lines = partial(console.first_lines, console=console.out, most=most, more="; --all prints them")
    lines("unreadable:", [f"{escape(at.path)}: {escape(at.reason)}" for at in result.unreadable])
    lines("equal:", [_equal(group, most) for group in result.duplicates])
    console.left_out(scanned.left_out, console.out, show_all=most is None)
    console.not_utf8((example.path for example in scanned.examples), console.out)
    lines("[yellow]warning:[/]", list(map(escape, result.warnings)))
    lines("[red]problem:[/]", list(map(escape, result.problems)))
    console.out.print("usable" if result.usable else "[red]unusable[/]")


def _counts(scanned: DataSet, result: Inspection, most: int | None) -> Table:
    table = console.table("label", *SPLITS)
    for label in scanned.labels.names[:most]:
        table.add_row(escape(label), *(str(result.counts[split][label]) for split in SPLITS))
    if most is not None and len(scanned.labels) > most:
        table.add_row(f"{len(scanned.labels) - most:,} more labels", *[""] * len(SPLITS))
    table.add_section()
    table.add_row("all", *(str(sum(result.counts[split].values())) for split in SPLITS))
    return table


def _equal(group: Duplicates, most: int | None) -> str:
    """The paths of equal files in one line."""
    paths = " = ".join(escape(path) for _, _, path in group.files[:most])
    more = len(group.files) - (most or len(group.files))
    return f"{paths} and {more:,} more" if more > 0 else paths
