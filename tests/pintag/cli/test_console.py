"""Progress in plain lines, where standard error is not a terminal, and names that are not text."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TextColumn

from pintag.cli import console
from pintag.cli.console import ProgressLines
from pintag.data.dataset import Unreadable


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_stage_has_a_line_at_most_every_ten_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = ProgressLines(clock)
    for second in range(25):
        clock.now = 100.0 + second
        lines.move("head", second + 0.5, 30, f"loss {second}")
    lines.move("[fine-tuning]", 1, 4)
    assert capfd.readouterr().err.splitlines() == [
        "head: 0 of 30, loss 0",
        "head: 10 of 30, loss 10",
        "head: 20 of 30, loss 20",
        "[fine-tuning]: 1 of 4",
    ]


def test_a_stage_that_has_started_is_silent_for_ten_seconds(
    capfd: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    lines = ProgressLines(clock)
    lines.start("reading")
    clock.now += 9
    lines.move("reading", 90, 200)
    clock.now += 1
    lines.move("reading", 100, 200)
    assert capfd.readouterr().err == "reading: 100 of 200\n"


def test_stages_and_long_work_print_lines_without_a_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_LINE_INTERVAL_S", 0.0)
    with console.bars() as bars:
        console.Stages(bars).move("trials", 2.0, 9)
    with console.progress("tagging") as progress:
        progress(1, 3)
    with console.progress("hidden", shown=False) as progress:
        progress(1, 3)
    assert capfd.readouterr().err == "trials: 2 of 9\ntagging: 1 of 3\n"


HOSTILE = "a\x1b]0;title\x07\x9b31m\r\u202eb[red]\udcff"
SHOWN = "a\\x1b]0;title\\x07\\x9b31m\\r\\u202eb[red]\\xff"


def test_control_characters_in_names_are_escaped_everywhere(
    capfd: pytest.CaptureFixture[str],
) -> None:
    table = console.table("name")
    table.add_row(escape(HOSTILE))
    console.out.print(table)
    console.out.print(escape(HOSTILE), soft_wrap=True)
    console.error(HOSTILE)
    console.skipped([Unreadable(Path(HOSTILE), HOSTILE)])
    out, err = capfd.readouterr()
    assert out.count(SHOWN) == 2
    assert err.count(SHOWN) == 3
    assert not {"\x1b", "\x07", "\x9b", "\r", "\u202e"} & set(out + err)


def test_of_many_warnings_and_skipped_files_the_first_are_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    console.warnings(f"warning {number}" for number in range(1020))
    console.skipped([Unreadable(Path(f"{number}.jpg"), "no image") for number in range(21)])
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "warning: warning 0"
    assert lines[19:22] == [
        "warning: warning 19",
        "warning: 1,000 more",
        "skipped: 0.jpg: no image",
    ]
    assert lines[-1] == "skipped: 1 more"
    assert len(lines) == 2 * (console.MOST + 1)


def test_a_name_in_a_progress_bar_is_escaped() -> None:
    bars = Progress(TextColumn("{task.description} {task.fields[note]}"), disable=True)
    with patch.object(console, "err", Console(force_terminal=True, file=io.StringIO())):
        console.Stages(bars).move(HOSTILE, 1, 2, HOSTILE)
    (task,) = bars.tasks
    text = TextColumn("{task.description} {task.fields[note]}").render(task).plain
    assert text == f"{SHOWN} {SHOWN}"


def test_json_is_valid_for_names_that_are_no_utf_8(capfd: pytest.CaptureFixture[str]) -> None:
    console.print_json([{"image": HOSTILE, HOSTILE: (HOSTILE, 1, None)}])
    out = capfd.readouterr().out
    name = HOSTILE.replace("\udcff", "\\xff")
    assert json.loads(out) == [{"image": name, name: [name, 1, None]}]
    assert "\\\\xff" in out


def test_a_closed_standard_error_ends_no_work() -> None:
    script = (
        "import os; from pintag.cli import console; read, write = os.pipe(); os.close(read)\n"
        "os.dup2(write, 2); console.err.print('lost'); console.err.print('lost'); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n")
