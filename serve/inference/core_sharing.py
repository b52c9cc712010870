"""Which replicas of this machine are busy, so that an idle replica's core can be borrowed."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Seconds after which a replica that was seen busy counts as idle.
_RECENT_S = 0.1
_FOLDER = Path(tempfile.gettempdir())


class BusyLock:
    """A file lock by which the replicas of one user and machine show that they are busy.

    A busy replica holds a shared lock on the file; the kernel releases it when the process ends. No
    call blocks: a replica that is suspended while it holds the lock does not stop the others.
    """

    def __init__(
        self,
        folder: Path = _FOLDER,
        clock: Callable[[], float] = time.monotonic,
        *,
        observe_only: bool = False,
    ) -> None:
        """Open the file.

        Args:
            folder: where the file is; replicas share cores if they share the folder.
            clock: returns seconds.
            observe_only: see other replicas, but stay invisible to them. For a replica with a
                higher niceness: the scheduler already lets the others go first.

        Raises:
            OSError: the file cannot be opened, or is a symbolic link.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self.path(folder), flags, 0o600)
        self._clock, self._last_seen = clock, -_RECENT_S
        self._busy_kind = fcntl.LOCK_UN if observe_only else fcntl.LOCK_SH

    @staticmethod
    def path(folder: Path) -> Path:
        """The path of the lock file, one for each user."""
        return folder / f"pintag-{os.getuid()}.lock"

    def set_busy(self) -> None:
        """Show that this replica is busy."""
        self._lock(self._busy_kind)

    def set_idle(self) -> None:
        """Show that this replica is idle."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def others_busy(self) -> bool:
        """Whether another replica is busy, or was busy within the last tenth of a second.

        Call it only while this replica is busy. A replica that was busy a moment ago is likely to
        need its core again before a borrower could return it.
        """
        now = self._clock()
        if not self._lock(fcntl.LOCK_EX):
            self._last_seen = now
        # Where Linux refuses the exclusive lock, it has already released the shared one.
        self.set_busy()
        return now - self._last_seen < _RECENT_S

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
