"""What commands say: tables and progress for people, JSON for machines.

Answers go to standard output and everything else to standard error, so that a pipe gets answers.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from pintag.quiet import quiet

if TYPE_CHECKING:
    from pintag.dataset import Unreadable

# Names of files and labels are not to be read as emoji (`:art:`) or coloured as if they were code.
out = Console(emoji=False, highlight=False)
err = Console(emoji=False, highlight=False, stderr=True)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2))


def skipped(file: Unreadable) -> None:
    """Name a file that is left out."""
    message = f"[yellow]skipped:[/] {escape(str(file.path))}: {escape(file.reason)}"
    err.print(message, soft_wrap=True)


def table(*columns: str, title: str | None = None) -> Table:
    """A table whose first column is text and whose others are figures."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        # A name that is cut off may be another's beginning.
        made.add_column(column, justify="right" if number else "left", overflow="fold")
    return made


def bars(*, shown: bool = True, transient: bool = False) -> Progress:
    """Progress bars on standard error, silent where that is no terminal.

    Args:
        transient: they vanish when they are done, for what is said then.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
        disable=not (shown and err.is_terminal),
        transient=transient,
    )


class Stages:
    """A bar for each stage of long work, shown when the stage is first told of."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def move(self, stage: str, done: float, total: int, note: str = "") -> None:
        """Say how far a stage is."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(escape(stage), note="")
        self._bars.update(self._tasks[stage], completed=done, total=total, note=note)


def import_quietly(module: str) -> None:
    """Import a module that writes to the process's standard error as it loads: TensorFlow.

    Its notes on the processor and on GPUs it did not find come before its log level is in force.
    """
    with quiet():
        importlib.import_module(module)


@contextmanager
def progress(
    description: str, *, shown: bool = True, transient: bool = False
) -> Iterator[Callable[[float, int], None]]:
    """One bar; yields the `progress(done, total)` that moves it."""
    with bars(shown=shown, transient=transient) as made:
        task = made.add_task(escape(description), total=None, note="")
        yield lambda done, total: made.update(task, completed=done, total=total)


@contextmanager
def waiting() -> Iterator[Callable[[str], None]]:
    """Yields a call that names what is being done, for work that cannot be counted."""
    yield lambda stage: err.print(f"{escape(stage)} …")
