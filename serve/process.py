"""What a replica takes of the machine it runs on: which cores, and who goes first."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def share(cores: Iterable[int] | None, niceness: int) -> None:
    """Keep this process to some cores, and let others of less niceness go first.

    Linux keeps both for each thread: those that run are told now, those to come inherit it.

    Raises:
        ValueError: this machine has no such core.
    """
    wanted = set(cores or ())
    if missing := wanted - _present():
        raise ValueError(f"cores {sorted(missing)}: this machine has {sorted(_present())}")
    for thread in _threads():
        # It may have ended in between.
        with contextlib.suppress(ProcessLookupError):
            if wanted:
                os.sched_setaffinity(thread, wanted)
            # Only root may go back up, so that whoever is nicer already stays so.
            if niceness > os.getpriority(os.PRIO_PROCESS, thread):
                os.setpriority(os.PRIO_PROCESS, thread, niceness)


def _threads() -> list[int]:
    tasks = Path("/proc/self/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.is_dir() else [0]


def _present() -> set[int]:
    return set(range(os.cpu_count() or 1))
