"""The command, with engines that take their time, as a GPU does, without taking a core.

    python -m tests.load.slow_server SECONDS_PER_IMAGE serve --bundle BUNDLE [key=value ...]

On two cores there is no other way to see many replicas share a load, so that more of them help.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import Any

from pintag.bundle import ModelBundle
from pintag.cli.main import main
from pintag.engine import Confidences, Engine
from pintag.images import Pixels
from serve import server
from serve.config import ServeConfig


class SlowEngine:
    """An engine, and so many seconds for each image."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self.name, self.precision, self.input_size = (
            engine.name,
            engine.precision,
            engine.input_size,
        )
        self._engine, self._seconds = engine, seconds

    def predict(self, pixels: Pixels) -> Confidences:
        """As slowly as was wanted."""
        found = self._engine.predict(pixels)
        time.sleep(self._seconds * len(pixels))
        return found


def slow_down(seconds: float) -> None:
    """Every engine that this process builds from a bundle."""
    # Not sooner: it imports Ray.
    from serve import predictor

    # Its time is no processor time, by which a replica would take it for a quick one.
    predictor._QUICK_SECONDS = 0.0
    build = ModelBundle.engine

    def engine(self: ModelBundle, *arguments: Any, **named: Any) -> SlowEngine:
        return SlowEngine(build(self, *arguments, **named), seconds)

    ModelBundle.engine = engine  # type: ignore[method-assign,assignment]


def _in_every_process(seconds: float) -> None:
    connect = server._connect

    def hook() -> None:
        slow_down(seconds)

    def slowly(config: ServeConfig) -> None:
        # Ray reads the environment, which the server sets, when it is imported.
        import ray

        ray.init = functools.partial(ray.init, runtime_env={"worker_process_setup_hook": hook})
        connect(config)

    server._connect = slowly


if __name__ == "__main__":
    _in_every_process(float(sys.argv.pop(1)))
    main()
