"""The Ray cluster that a job runs on: that of `RAY_ADDRESS`, else one on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pintag.errors import ClusterError, PintagError
from pintag.quiet import quiet


@contextmanager
def connected(workers: int = 1) -> Iterator[None]:
    """Be connected while the block runs; a connection that stands already is used, and kept.

    Args:
        workers: processors that one machine has at least, in Ray's eyes: more than it has share.

    Raises:
        ClusterError: there is no such cluster.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"include_dashboard": False}
    # Below that, Ray's native code writes of its own affairs between our bars of progress.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if not os.environ.get("RAY_ADDRESS"):
        # Not one that `ray start` left on this machine, which Ray would find by itself.
        options["address"] = "local"
        options["num_cpus"] = max(os.cpu_count() or 1, workers)
    try:
        with quiet():
            ray.init(logging_level="ERROR", log_to_driver=False, **options)
    # A node that does not come up in time, on a busy machine, is a plain Exception of Ray's.
    except Exception as error:
        raise ClusterError(f"no Ray cluster: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def quiet_data() -> None:
    """Ray Data draws and tells nothing: our own bars of progress do."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def cause(error: BaseException) -> PintagError | None:
    """The error of ours behind one of Ray's."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, PintagError):
        found = getattr(found, "cause", None) or found.__cause__
    return found
