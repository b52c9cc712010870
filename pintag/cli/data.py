"""`pintag data`: make a sample data set, and check one."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from pintag import dataset, inspection
from pintag.cli import console
from pintag.dataset import SPLITS, DataSet
from pintag.inspection import Inspection


@click.group()
def data() -> None:
    """Make a sample data set, or check your own."""


@data.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Another seed, other pictures.")
@click.option(
    "--per-label",
    default=60,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Training images of each label; a quarter as many to validate and to test.",
)
@console.json_option
def sample(out: Path, seed: int, per_label: int, as_json: bool) -> None:
    """Draw a small SYNTHETIC data set of eight classes into OUT.

    It lets everything run without a photograph; figures measured on it say nothing about
    photographs.
    """
    from pintag import sample as drawing

    held = max(1, per_label // 4)
    counts = {dataset.TRAIN: per_label, dataset.VALIDATION: held, dataset.TEST: held}
    with console.progress("drawing") as progress:
        count = drawing.write(out, seed=seed, counts=counts, progress=progress)
    if as_json:
        console.print_json({"path": str(out), "images": count, "seed": seed, "synthetic": True})
    else:
        where = escape(str(out))
        console.out.print(f"{count} synthetic images in {where} (seed {seed})", soft_wrap=True)


@data.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Divides a data set without splits.",
)
@console.json_option
def check(directory: Path, seed: int, as_json: bool) -> None:
    """Check the data set in DIR: <split>/<label>/* or a flat <label>/*.

    Counts images per split and label; names unreadable files; finds equal files within and across
    splits, and imbalance. Exit code 1 when it cannot be trained on.
    """
    with console.progress("reading") as progress:
        scanned = dataset.scan(directory, seed=seed, progress=progress)
    found = inspection.inspect(scanned)
    if as_json:
        console.print_json(_to_json(scanned, found))
    else:
        _show(scanned, found)
    if not found.usable:
        click.get_current_context().exit(1)


def _to_json(scanned: DataSet, found: Inspection) -> dict[str, object]:
    return {
        "usable": found.usable,
        "fingerprint": scanned.fingerprint,
        "synthetic": scanned.is_synthetic,
        "counts": found.counts,
        "unreadable": [
            {"path": str(file.path), "reason": file.reason} for file in found.unreadable
        ],
        "duplicates": [
            [
                {"split": split, "label": label, "path": str(path)}
                for split, label, path in group.files
            ]
            for group in found.duplicates
        ],
        # JSON has no infinity.
        "imbalance": found.imbalance if found.imbalance != float("inf") else None,
        "problems": found.problems,
        "warnings": found.warnings,
    }


def _show(scanned: DataSet, found: Inspection) -> None:
    kind = " (synthetic)" if scanned.is_synthetic else ""
    shown = console.table("label", *SPLITS, title=f"{escape(str(scanned.root))}{kind}")
    for label in scanned.labels:
        shown.add_row(escape(label), *(str(found.counts[split][label]) for split in SPLITS))
    shown.add_section()
    shown.add_row("all", *(str(sum(found.counts[split].values())) for split in SPLITS))
    console.out.print(shown)
    for file in found.unreadable:
        console.out.print(
            f"unreadable: {escape(str(file.path))}: {escape(file.reason)}", soft_wrap=True
        )
    for group in found.duplicates:
        where = " = ".join(str(path) for _, _, path in group.files)
        console.out.print(f"equal: {escape(where)}", soft_wrap=True)
    for warning in found.warnings:
        console.out.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)
    for problem in found.problems:
        console.out.print(f"[red]problem:[/] {escape(problem)}", soft_wrap=True)
    console.out.print("usable" if found.usable else "[red]unusable[/]")
