"""Helpers to kill processes of a server while clients upload at a constant rate."""

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

from benchmarks import openloop
from benchmarks.openloop import Outcomes
from tests.conftest import Server, descendants, wait_for

# Settings of a server.
ONE_REPLICA = (
    "classifier.autoscaling.min_replicas=1",
    "classifier.autoscaling.max_replicas=1",
)


def replicas(server: Server) -> list[psutil.Process]:
    """The processes of the classifier's replicas."""
    return list(descendants(server.process, "ServeReplica:classifier:"))


@dataclass
class Watch:
    """Uploads at a constant rate, and the outcome of each."""

    rate: float
    outcomes: Outcomes = field(default_factory=Outcomes)
    begun: float = field(default_factory=time.perf_counter)

    def now(self) -> float:
        """Seconds since the first upload was due, the clock of `outcomes`."""
        return time.perf_counter() - self.begun

    def wait_for_answers(self, seconds: float) -> None:
        """Wait until more requests have status 200: as many as are sent in this many seconds."""
        target = self._answered() + seconds * self.rate
        wait_for(lambda: self._answered() >= target, seconds + 120, "answers")

    def _answered(self) -> int:
        return self.outcomes.statuses()[200]

    def failed(self) -> list[float]:
        """The due times, in seconds, of the requests that did not get status 200; ascending."""
        return sorted(outcome.due for outcome in self.outcomes if outcome.status != 200)

    def recovery(self) -> float:
        """Seconds between the first and the last failed request."""
        failed = self.failed()
        return failed[-1] - failed[0] if failed else 0.0

    def worst(self) -> float:
        """The longest time that a request with status 200 took, in seconds."""
        return max(outcome.seconds for outcome in self.outcomes if outcome.status == 200)

    def summary(self) -> str:
        """One line for the table of docs/faults.md."""
        return (
            f"{len(self.outcomes)} requests, {len(self.failed())} failed "
            f"{dict(self.outcomes.statuses())}, worst {self.worst():.2f} s, "
            f"recovered in {self.recovery():.1f} s"
        )


@contextlib.contextmanager
def watched(url: str, bodies: Sequence[bytes], rate: float, burst: int = 1) -> Iterator[Watch]:
    """Upload at a constant rate while the block runs; `burst` requests are due at the same time."""
    watch, done = Watch(rate), threading.Event()

    def times() -> Iterator[float]:
        for number in itertools.count():
            if done.is_set():
                return
            yield number // burst * burst / rate

    thread = threading.Thread(
        target=lambda: openloop.run(url, bodies, times(), outcomes=watch.outcomes)
    )
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="session")
def body(sample_dir: Path) -> bytes:
    """The bytes of an image to upload."""
    return next((sample_dir / "test").rglob("*.jpg")).read_bytes()
