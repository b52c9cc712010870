"""Replicas that tell each other, through the kernel, whether they are at work."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve.neighbours import Neighbours
from tests.conftest import ROOT

OTHER = """
import sys
from pathlib import Path
from serve.neighbours import Neighbours

other = Neighbours(Path(sys.argv[1]))
other.begin()
print("at work", flush=True)
sys.stdin.readline()
"""


@contextmanager
def busy(place: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process at work."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "at work\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_replica_by_itself_has_none_at_work(tmp_path: Path) -> None:
    mine = Neighbours(tmp_path)
    mine.begin()
    assert not mine.at_work()
    assert not mine.at_work()


def test_another_is_at_work_until_a_tenth_of_a_second_after_its_end(tmp_path: Path) -> None:
    seconds = 0.0
    mine, other = Neighbours(tmp_path, lambda: seconds), Neighbours(tmp_path)
    mine.begin()
    other.begin()
    assert mine.at_work()
    assert other.at_work()
    other.end()
    seconds = 0.09
    assert mine.at_work()
    seconds = 0.11
    assert not mine.at_work()


def test_asking_does_not_end_ones_own_work(tmp_path: Path) -> None:
    mine, other = Neighbours(tmp_path), Neighbours(tmp_path)
    mine.begin()
    mine.at_work()
    other.begin()
    assert other.at_work()


def test_one_that_yields_sees_others_and_is_not_seen(tmp_path: Path) -> None:
    seconds = 0.0
    mine = Neighbours(tmp_path)
    nicer = Neighbours(tmp_path, lambda: seconds, yields=True)
    nicer.begin()
    assert not nicer.at_work()
    mine.begin()
    assert not mine.at_work()
    assert nicer.at_work()
    nicer.end()
    assert not mine.at_work()
    mine.end()
    seconds = 0.11
    assert not nicer.at_work()


def test_one_that_was_killed_is_not_at_work(tmp_path: Path) -> None:
    seconds = 0.0
    mine = Neighbours(tmp_path, lambda: seconds)
    mine.begin()
    with busy(tmp_path) as process:
        assert mine.at_work()
        process.kill()
        process.wait()
        seconds = 1.0
        assert not mine.at_work()


def test_nobody_waits_for_one_that_is_suspended(tmp_path: Path) -> None:
    mine = Neighbours(tmp_path)
    with busy(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        mine.begin()
        assert mine.at_work()
        mine.end()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    path = Neighbours.path(tmp_path)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Neighbours(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
