"""What breaks, and who watches it: processes of a server, and clients that never pause."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from tests.conftest import Server
from tests.load import openloop
from tests.load.openloop import Fates

_TURN = 2.0


def processes(server: Server, words: str) -> list[psutil.Process]:
    """Those of a server whose name or command line has these words."""
    found = []
    for each in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if words == each.name() or words in " ".join(each.cmdline()):
                found.append(each)
    return found


def replicas(server: Server) -> list[psutil.Process]:
    """Of the classifier."""
    return processes(server, "ServeReplica:classifier:")


@dataclass
class Watch:
    """Uploads at a constant rate, and what became of each."""

    fates: Fates = field(default_factory=Fates)

    def recovery(self) -> float:
        """Seconds between the first and the last request that was not answered with 200."""
        bad = [fate.due for fate in self.fates if fate.status != 200]
        return max(bad) - min(bad) if bad else 0.0

    def worst(self) -> float:
        """The longest that an answer took, in seconds."""
        return max(fate.seconds for fate in self.fates if fate.status == 200)

    def told(self) -> str:
        """In a line, for the table of docs/faults.md."""
        failed = sum(fate.status != 200 for fate in self.fates)
        return (
            f"{len(self.fates)} requests, {failed} failed {dict(self.fates.statuses())}, "
            f"worst {self.worst():.2f} s, recovered in {self.recovery():.1f} s"
        )


@contextlib.contextmanager
def watched(url: str, bodies: Sequence[bytes], rate: float) -> Iterator[Watch]:
    """Upload at a constant rate while the block lasts."""
    watch, done = Watch(), threading.Event()

    def upload() -> None:
        turns = 0
        while not done.is_set():
            found = openloop.run(url, bodies, openloop.steady(rate, _TURN))
            offset = turns * _TURN
            watch.fates += [
                openloop.Fate(each.due + offset, each.seconds, each.status) for each in found
            ]
            turns += 1

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()
