"""The other replicas of a machine: whether any is at work, so that a core may be borrowed."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Seconds.
_LATELY = 0.1
_PLACE = Path(tempfile.gettempdir())


class Neighbours:
    """Replicas of one user and machine, each of which tells while it works.

    They tell by sharing a lock on one file, which the kernel takes from a process that ends. Nobody
    ever waits for it: a replica that was suspended while it looked would hold up all of them.
    """

    def __init__(
        self,
        place: Path = _PLACE,
        clock: Callable[[], float] = time.monotonic,
        *,
        yields: bool = False,
    ) -> None:
        """One that `yields`, as it is nicer than others are, looks at them and tells nothing."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self.path(place), flags, 0o600)
        self._clock, self._seen, self._yields = clock, -_LATELY, yields

    @staticmethod
    def path(place: Path) -> Path:
        """The file that they share."""
        return place / f"pintag-{os.getuid()}.lock"

    def begin(self) -> None:
        """This replica is at work."""
        if not self._yields:
            self._lock(fcntl.LOCK_SH)

    def end(self) -> None:
        """This replica has nothing to do."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def at_work(self) -> bool:
        """Whether any other is, or was within a tenth of a second; asked by one that has begun.

        Where others come and go, a core that is idle now is wanted before it is given back.
        """
        now = self._clock()
        if not self._lock(fcntl.LOCK_EX):
            self._seen = now
        # Where Linux refuses the one it has taken the other away.
        if self._yields:
            self.end()
        else:
            self.begin()
        return now - self._seen < _LATELY

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
