"""The other replicas of a machine: whether any is at work, so that a core may be borrowed."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

_PLACE = Path(tempfile.gettempdir())


class Neighbours:
    """Replicas of one user and machine, each of which tells while it works.

    They tell by sharing a lock on one file, which the kernel takes from a process that ends. Nobody
    ever waits for it: a replica that was suspended while it looked would hold up all of them.
    """

    def __init__(self, place: Path = _PLACE) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self.path(place), flags, 0o600)

    @staticmethod
    def path(place: Path) -> Path:
        """The file that they share."""
        return place / f"pintag-{os.getuid()}.lock"

    def begin(self) -> None:
        """This replica is at work."""
        self._lock(fcntl.LOCK_SH)

    def end(self) -> None:
        """This replica has nothing to do."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def at_work(self) -> bool:
        """Whether any other is; asked by one that has begun."""
        alone = self._lock(fcntl.LOCK_EX)
        # Where Linux refuses the one it has taken the other away.
        self.begin()
        return not alone

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
