"""Terminal output: tables and progress bars for people, JSON for machines.

Results go to standard output, and messages to standard error, so that a pipe gets only results.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich import markup
from rich.console import Console, ConsoleDimensions
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from pintag.core import files, formatting
from pintag.core.text import is_utf8, printable

if TYPE_CHECKING:
    from pintag.data.dataset import Unreadable
    from pintag.data.walker import LeftOut

F = TypeVar("F", bound=Callable[..., Any])

MOST = 20
"""At most this many lines about files of one kind are printed."""
# Of a reason, the number of files that are named.
_EXAMPLES = 3

# Seconds between two lines about one stage, where progress bars cannot be drawn.
_LINE_INTERVAL_S = 10.0
# Columns of output that is not a terminal.
_UNLIMITED = 100_000
# The names of the streams in errors, such as those of a full disk; by `stderr`.
_STREAMS = {False: Path("standard output"), True: Path("standard error")}


class _SafeConsole(Console):
    """A console that prints file names and labels as they are, without executing them.

    They are not read as emoji (`:art:`), not coloured like code, and their control characters are
    escaped: a terminal would obey them.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(emoji=False, highlight=False, stderr=stderr)

    @property  # type: ignore[misc]
    def size(self) -> ConsoleDimensions:
        # A pipe has no width: a program that reads a table needs each row in one line.
        return super().size if self.is_terminal else ConsoleDimensions(_UNLIMITED, 25)

    def print(self, *objects: Any, **options: Any) -> None:
        with files.naming(_STREAMS[self.stderr]):
            super().print(*objects, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text, keep="\n"), **options)

    def on_broken_pipe(self) -> None:
        # Nobody reads the messages any more: continue without them. Rich would end the process.
        if not self.stderr:
            raise BrokenPipeError
        self.quiet = True


out = _SafeConsole()
err = _SafeConsole(stderr=True)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


SEED = click.IntRange(0, 2**32 - 1)
"""A seed of NumPy."""


class ShareType(click.FloatRange):
    """A number from 0 to 1. click accepts `nan`, too, because no comparison with it is true."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number from 0 to 1", param, ctx)
        return number


def tag_options(max_tags: int) -> Callable[[F], F]:
    """Add `--max-tags`, with this default, and `--min-confidence` to a command."""
    options = (
        click.option(
            "--max-tags",
            default=max_tags,
            show_default=True,
            type=click.IntRange(1),
            help="At most this many tags of each image.",
        ),
        click.option(
            "--min-confidence",
            default=0.0,
            show_default=True,
            type=ShareType(),
            help="Leave out tags below this confidence.",
        ),
    )

    def add(command: F) -> F:
        # The first decorator in a row is applied last, and comes first in the help.
        for option in reversed(options):
            command = option(command)
        return command

    return add


def escape(value: object) -> str:
    """Text for `out` and `err`: brackets are not markup, and control characters are escaped."""
    return markup.escape(printable(str(value)))


def print_json(value: Any) -> None:
    """Print a JSON document on standard output."""
    with files.naming(_STREAMS[False]):
        click.echo(formatting.to_json(value))


def error(message: str) -> None:
    """Print an error, which may have several lines, on standard error."""
    err.print(f"[red]error:[/] {markup.escape(message)}", soft_wrap=True)


def log_json(message: str, level: str = "INFO") -> None:
    """Print an event of a server as an object in one line, like those in the replicas' logs."""
    event = {"asctime": datetime.now(UTC).isoformat(), "levelname": level, "message": message}
    click.echo(json.dumps(event), err=True)


def first_lines(
    kind: str, lines: Sequence[str], console: Console, *, most: int | None = MOST, more: str = ""
) -> None:
    """Print the first lines of one kind, and how many others there are.

    Args:
        kind: markup that each line begins with.
        lines: markup; values in it are escaped.
        most: at most this many lines; all if it is None.
        more: words after the number of the others, such as how to see them.
    """
    for line in lines[:most]:
        console.print(f"{kind} {line}", soft_wrap=True)
    if most is not None and len(lines) > most:
        console.print(f"{kind} {len(lines) - most:,} more{more}", soft_wrap=True)


def skipped(unreadable: Sequence[Unreadable]) -> None:
    """Print which files are skipped, and why; of many only the first ones."""
    lines = [f"{escape(file.path)}: {escape(file.reason)}" for file in unreadable]
    first_lines("[yellow]skipped:[/]", lines, err)


def warnings(messages: Iterable[str]) -> None:
    """Print warnings; of many only the first ones."""
    first_lines("[yellow]warning:[/]", list(map(escape, messages)), err)


def left_out(items: Sequence[LeftOut], console: Console = err, *, show_all: bool = False) -> None:
    """Print a line for each reason why files and folders are left out: their number, and some.

    Args:
        show_all: name all of them.
    """
    from pintag.data import walker

    for reason, paths in walker.by_reason(items).items():
        listed = paths if show_all else paths[:_EXAMPLES]
        named = ", ".join(map(escape, listed))
        more = ", …" if len(paths) > len(listed) else ""
        line = f"[yellow]left out:[/] {len(paths):,} ({escape(reason)}): {named}{more}"
        console.print(line, soft_wrap=True)


def not_utf8(paths: Iterable[Path], console: Console = err) -> None:
    """Print how many files have names that are not UTF-8, if there are any."""
    if count := sum(not is_utf8(str(path)) for path in paths):
        note = f"names that are not UTF-8, printed with bytes such as \\xe9: {count:,}"
        console.print(f"[yellow]note:[/] {note}", soft_wrap=True)


def table(*columns: str) -> Table:
    """A table with text in its first column and numbers in the others."""
    table = Table(header_style="bold")
    for index, column in enumerate(columns):
        # Long names are wrapped: if they were cut off, two of them might look the same.
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    return table


def bars(*, shown: bool = True, transient: bool = False) -> Progress:
    """Progress bars on standard error, if it is a terminal.

    Args:
        shown: False disables them.
        transient: remove them at the end, before results are printed.
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


class ProgressLines:
    """Progress in plain lines, at most one in ten seconds for a stage: for logs and pipes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._printed: dict[str, float] = {}

    def start(self, stage: str) -> None:
        """Print nothing about a stage in its first ten seconds."""
        self._printed[stage] = self._clock()

    def move(self, stage: str, done: float, total: int, note: str = "") -> None:
        """Print how much of a stage is done, unless a line about it was printed recently."""
        now = self._clock()
        if stage in self._printed and now - self._printed[stage] < _LINE_INTERVAL_S:
            return
        self._printed[stage] = now
        line = f"{stage}: {int(done)} of {total}" + (f", {note}" if note else "")
        err.print(escape(line), soft_wrap=True)


class Stages:
    """The progress of each stage of long work, from its first update on.

    A stage has a bar if standard error is a terminal, otherwise plain lines.
    """

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._lines = ProgressLines()

    def move(self, stage: str, done: float, total: int, note: str = "") -> None:
        """Update the progress of a stage; `note` is shown beside it."""
        if not err.is_terminal:
            self._lines.move(stage, done, total, note)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(escape(stage), note="")
        self._bars.update(self._tasks[stage], completed=done, total=total, note=escape(note))


@contextmanager
def progress(
    description: str, *, shown: bool = True, transient: bool = False
) -> Iterator[Callable[[float, int], None]]:
    """One progress bar; yields the function `progress(done, total)` that updates it.

    If standard error is not a terminal, work that takes longer than ten seconds prints plain lines.
    """
    if shown and not err.is_terminal:
        lines = ProgressLines()
        lines.start(description)
        yield partial(lines.move, description)
        return
    with bars(shown=shown, transient=transient) as progress_bars:
        task = progress_bars.add_task(escape(description), total=None, note="")
        yield lambda done, total: progress_bars.update(task, completed=done, total=total)


@contextmanager
def stage_printer() -> Iterator[Callable[[str], None]]:
    """Yields a function that prints the name of a stage, for work without countable steps."""
    yield lambda stage: err.print(f"{escape(stage)} …")
