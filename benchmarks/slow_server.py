"""The `pintag` command with engines that wait without using a core, as a GPU does.

    python -m benchmarks.slow_server SECONDS_PER_IMAGE serve --bundle BUNDLE [key=value ...]

So a machine with two cores can run many replicas that share a load.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from pintag.cli import main
from pintag.core.types import Confidences, Engine, Pixels
from pintag.models.bundle import ModelBundle
from tests.worker_hook import call_in_every_worker


class SlowEngine:
    """An engine that waits a number of seconds for each image."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self.name, self.precision, self.input_size = (
            engine.name,
            engine.precision,
            engine.input_size,
        )
        self._engine, self._seconds = engine, seconds

    def predict(self, pixels: Pixels) -> Confidences:
        """Predict, then wait."""
        confidences = self._engine.predict(pixels)
        time.sleep(self._seconds * len(pixels))
        return confidences


def slow_down(seconds: float) -> None:
    """Slow down every engine that this process builds from a bundle."""
    # Imported here, because this imports Ray.
    from pintag.serve.inference import inline

    # A replica measures processor time, and waiting takes none: without this, the replica would run
    # the engine in its event loop.
    inline.MAX_BLOCKING_S = 0.0
    build = ModelBundle.engine

    def engine(self: ModelBundle, *arguments: Any, **named: Any) -> SlowEngine:
        return SlowEngine(build(self, *arguments, **named), seconds)

    ModelBundle.engine = engine  # type: ignore[method-assign]


if __name__ == "__main__":
    seconds = float(sys.argv.pop(1))

    def hook() -> None:
        slow_down(seconds)

    call_in_every_worker(hook)
    main()
