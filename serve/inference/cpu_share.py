"""The processor share of this process: which cores it may use, and at which niceness."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def limit(cores: Iterable[int] | None, niceness: int) -> None:
    """Restrict this process to some cores, and raise its niceness.

    Linux stores both for each thread. All running threads are changed; new threads inherit them.

    Args:
        cores: the numbers of the cores; None or empty changes nothing.
        niceness: the lowest niceness of each thread, 0 to 19.

    Raises:
        ValueError: this machine does not have these cores.
    """
    allowed = set(cores or ())
    if missing := allowed - _present_cores():
        raise ValueError(f"cores {sorted(missing)}: this machine has {sorted(_present_cores())}")
    for thread in _threads():
        # The thread may have ended since it was listed.
        with contextlib.suppress(ProcessLookupError):
            if allowed:
                os.sched_setaffinity(thread, allowed)
            # Only root may lower a niceness, so a higher one is kept.
            if niceness > os.getpriority(os.PRIO_PROCESS, thread):
                os.setpriority(os.PRIO_PROCESS, thread, niceness)


def _threads() -> list[int]:
    tasks = Path("/proc/self/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.is_dir() else [0]


def _present_cores() -> set[int]:
    return set(range(os.cpu_count() or 1))
