"""What commands say: tables and progress for people, JSON for machines.

Answers go to standard output and everything else to standard error, so that a pipe gets answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pintag.dataset import Progress as Callback

out = Console()
err = Console(stderr=True)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2))


def table(*columns: str, title: str | None = None) -> Table:
    """A table whose first column is text and whose others are figures."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left")
    return made


def bars() -> Progress:
    """Progress bars on standard error, silent where that is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
        disable=not err.is_terminal,
    )


@contextmanager
def progress(description: str) -> Iterator[Callback]:
    """One bar; yields the `progress(done, total)` that moves it."""
    with bars() as shown:
        task = shown.add_task(description, total=None, note="")
        yield lambda done, total: shown.update(task, completed=done, total=total)
