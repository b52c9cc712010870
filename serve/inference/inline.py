"""The inline strategy: a lone image is processed in the event loop, on all cores if they are free.

Passing an image to a batch thread and back would take a tenth of its time. docs/performance.md has
the figures ("One connection, and who may borrow the second core").
"""

from __future__ import annotations

import asyncio
import time

from pintag.core.types import Engine, Pixels
from pintag.serve.inference.admission import Admission
from pintag.serve.inference.core_sharing import BusyLock

# The longest time in seconds for which a lone image may block the event loop, with its decoding.
MAX_BLOCKING_S = 0.005


class InlineStrategy:
    """Decides whether an image is processed in the event loop, and with which engine."""

    def __init__(
        self, own: Engine, shared: Engine, busy: BusyLock, *, engine_s: float = 0.0
    ) -> None:
        """Choose between two engines.

        Args:
            own: uses the cores that are reserved for this replica.
            shared: also borrows the cores of other replicas.
            busy: shows whether other replicas of this machine need their cores.
            engine_s: the seconds that an engine takes for one image; infinite: every image goes to
                a batch.
        """
        self._own, self._shared, self._busy, self._engine_s = own, shared, busy, engine_s

    async def engine(self, admission: Admission, decode_s: float = 0.0) -> Engine | None:
        """The engine for the only image in flight; None if the image has to go to a batch.

        Call it after the request is admitted.

        Args:
            decode_s: the seconds that decoding the image takes at most.
        """
        if decode_s + self._engine_s >= MAX_BLOCKING_S or admission.images > 1:
            return None
        # Requests that arrived while the loop was blocked are admitted in this turn of the loop.
        await asyncio.sleep(0)
        if admission.images > 1:
            return None
        return self._own if self._busy.others_busy() else self._shared


def blocking_seconds(engine: Engine, blank: Pixels, threads: int) -> float:
    """The seconds that one image `uint8[1,S,S,3]` takes on an idle machine.

    Measured in processor time, divided by the engine's threads: while all replicas start at once,
    each of them waits for cores, and wall time would be too long.
    """
    seconds = []
    for _ in range(5):
        started = time.process_time()
        engine.predict(blank)
        seconds.append(time.process_time() - started)
    return min(seconds) / threads
