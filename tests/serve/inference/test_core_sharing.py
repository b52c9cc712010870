"""Replicas see through a file lock whether others are busy."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pintag.serve.inference.core_sharing import BusyLock
from tests.conftest import ROOT

OTHER = """
import sys
from pathlib import Path
from pintag.serve.inference.core_sharing import BusyLock

other = BusyLock(Path(sys.argv[1]))
other.set_busy()
print("busy", flush=True)
sys.stdin.readline()
"""


@contextmanager
def busy_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is busy."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "busy\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_single_replica_sees_no_other_busy(tmp_path: Path) -> None:
    mine = BusyLock(tmp_path)
    mine.set_busy()
    assert not mine.others_busy()
    assert not mine.others_busy()


def test_another_replica_counts_as_busy_for_a_tenth_of_a_second_longer(tmp_path: Path) -> None:
    seconds = 0.0
    mine, other = BusyLock(tmp_path, lambda: seconds), BusyLock(tmp_path)
    mine.set_busy()
    other.set_busy()
    assert mine.others_busy()
    assert other.others_busy()
    other.set_idle()
    seconds = 0.09
    assert mine.others_busy()
    seconds = 0.11
    assert not mine.others_busy()


def test_a_check_of_the_others_does_not_release_the_own_lock(tmp_path: Path) -> None:
    mine, other = BusyLock(tmp_path), BusyLock(tmp_path)
    mine.set_busy()
    mine.others_busy()
    other.set_busy()
    assert other.others_busy()


def test_a_replica_that_only_observes_sees_others_and_is_not_seen(tmp_path: Path) -> None:
    seconds = 0.0
    mine = BusyLock(tmp_path)
    nicer = BusyLock(tmp_path, lambda: seconds, observe_only=True)
    nicer.set_busy()
    assert not nicer.others_busy()
    mine.set_busy()
    assert not mine.others_busy()
    assert nicer.others_busy()
    nicer.set_idle()
    assert not mine.others_busy()
    mine.set_idle()
    seconds = 0.11
    assert not nicer.others_busy()


def test_a_killed_process_is_not_busy(tmp_path: Path) -> None:
    seconds = 0.0
    mine = BusyLock(tmp_path, lambda: seconds)
    mine.set_busy()
    with busy_process(tmp_path) as process:
        assert mine.others_busy()
        process.kill()
        process.wait()
        seconds = 1.0
        assert not mine.others_busy()


def test_a_suspended_process_does_not_block_others(tmp_path: Path) -> None:
    mine = BusyLock(tmp_path)
    with busy_process(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        mine.set_busy()
        assert mine.others_busy()
        mine.set_idle()


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    path = BusyLock.path(tmp_path)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        BusyLock(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
