"""What breaks, and who watches it: processes of a server, and clients that never pause."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.conftest import Server, descendants, wait_for
from tests.load import openloop
from tests.load.openloop import Fates


def replicas(server: Server) -> list[psutil.Process]:
    """Of the classifier."""
    return list(descendants(server.process, "ServeReplica:classifier:"))


@dataclass
class Watch:
    """Uploads at a constant rate, and what became of each."""

    rate: float
    fates: Fates = field(default_factory=Fates)
    begun: float = field(default_factory=time.perf_counter)

    def now(self) -> float:
        """In the seconds of its fates."""
        return time.perf_counter() - self.begun

    def sees(self, seconds: float) -> None:
        """Wait for the answers to as many requests as so many seconds have."""
        enough = self._good() + seconds * self.rate
        wait_for(lambda: self._good() >= enough, seconds + 120, "answers")

    def _good(self) -> int:
        return self.fates.statuses()[200]

    def failed(self) -> list[float]:
        """When those were due that were not answered with 200."""
        return sorted(fate.due for fate in self.fates if fate.status != 200)

    def recovery(self) -> float:
        """Seconds between the first and the last of those."""
        bad = self.failed()
        return bad[-1] - bad[0] if bad else 0.0

    def worst(self) -> float:
        """The longest that an answer took, in seconds."""
        return max(fate.seconds for fate in self.fates if fate.status == 200)

    def told(self) -> str:
        """In a line, for the table of docs/faults.md."""
        return (
            f"{len(self.fates)} requests, {len(self.failed())} failed "
            f"{dict(self.fates.statuses())}, worst {self.worst():.2f} s, "
            f"recovered in {self.recovery():.1f} s"
        )


@contextlib.contextmanager
def watched(url: str, bodies: Sequence[bytes], rate: float, together: int = 1) -> Iterator[Watch]:
    """Upload at a constant rate while the block lasts, so many at once."""
    watch, done = Watch(rate), threading.Event()

    def times() -> Iterator[float]:
        for number in itertools.count():
            if done.is_set():
                return
            yield number // together * together / rate

    thread = threading.Thread(target=lambda: openloop.run(url, bodies, times(), fates=watch.fates))
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="session")
def body(sample_dir: Path) -> bytes:
    """An upload."""
    return next((sample_dir / "test").rglob("*.jpg")).read_bytes()
