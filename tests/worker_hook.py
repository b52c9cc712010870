"""A function that every Ray worker of a server calls first, to change how the server behaves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from pintag.serve.config import ServeConfig
from pintag.serve.lifecycle import server


def call_in_every_worker(hook: Callable[[], None]) -> None:
    """Make every Ray worker of the server that this process runs call a function at its start.

    Args:
        hook: is pickled; define it in the module that is run as the program, which workers could
            not import.
    """
    connect = server._connect

    def connect_with_hook(config: ServeConfig) -> Path:
        # Ray reads variables when it is imported. The server has set them by now.
        import ray

        ray.init = functools.partial(ray.init, runtime_env={"worker_process_setup_hook": hook})
        return connect(config)

    server._connect = connect_with_hook
