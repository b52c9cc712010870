"""Connects to the Ray cluster of `RAY_ADDRESS`; without it, starts one on this machine."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pintag import local_node, ray_variables
from pintag.core import signals
from pintag.core.errors import ClusterError, PintagError
from pintag.core.quiet import quiet
from pintag.ray_variables import LOGS_HINT

log = logging.getLogger("pintag.cluster")


@contextmanager
def connected(workers: int = 1) -> Iterator[None]:
    """Stay connected to a Ray cluster during the block; an existing connection is used and kept.

    Args:
        workers: the minimum `num_cpus` of a local cluster. If the machine has fewer cores, the
            workers share them.

    SIGTERM, which Kubernetes and `timeout` send, interrupts the block as Ctrl-C does.

    Raises:
        ClusterError: the cluster cannot be reached or started, or a local one has ended.
    """
    # Ray reads them when it is imported.
    ray_variables.set_variables()
    import ray

    if ray.is_initialized():
        yield
        return
    # At any lower level, Ray's native code writes log messages between our progress bars.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray_variables.check_address()
    with signals.interrupting(signal.SIGTERM):
        start(ray_variables.local_options(workers) if ray_variables.is_local() else {})
        try:
            with local_node.watched():
                yield
        finally:
            local_node.shut_down()


def _job_config() -> Any:
    """Ray's configuration of this process, so that workers do not search its working directory.

    Ray puts that directory first on the path of the workers, where a `keras.py` or `train.py` of a
    user would be imported instead of the package. It does so unless the working directory is
    uploaded for the workers, and has no setting for that.
    """
    from ray.job_config import JobConfig

    class WithoutWorkingDirectory(JobConfig):  # type: ignore[misc]
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return WithoutWorkingDirectory()


def start(options: dict[str, Any]) -> Any:
    """Call `ray.init` with these options, without Ray's own messages, and return its context.

    Raises:
        ClusterError: the cluster cannot be reached or started; the message names the remedy.
    """
    import ray
    from ray._private import worker

    # Ray prints what raylets report to standard output, even without `log_to_driver`. There it
    # would be among the results of a command.
    worker.print_to_stdstream = _log_report
    try:
        # Ray's own handler of SIGTERM would end this process without any cleanup.
        with quiet(), signals.kept(signal.SIGTERM), local_node.started_apart():
            return ray.init(
                logging_level="ERROR", log_to_driver=False, include_dashboard=False,
                job_config=_job_config(), **options,
            )  # fmt: skip
    # Ray raises a plain Exception when a node does not start in time on a busy machine.
    except Exception as error:
        raise ClusterError(f"no Ray cluster: {ray_variables.explain(error)}") from error


def _log_report(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    log.info("%s: %s", data["pid"], "\n".join(data["lines"]))


def cause(error: BaseException) -> PintagError | None:
    """Return the pintag error that caused one of Ray's errors, or None."""
    current: BaseException | None = error
    while current is not None:
        # Ray's error of a task has the class of the task's error, too, but Ray's own long text.
        inner = getattr(current, "cause", None)
        if inner is None and isinstance(current, PintagError):
            return current
        current = inner or current.__cause__
    return None


def reason(error: BaseException) -> str:
    """Why one of Ray's errors was raised, in one line: Ray's own text has many, with tracebacks.

    The rest is logged at INFO, with the error and its causes.
    """
    from ray.exceptions import RayActorError, RayError, RayTaskError, WorkerCrashedError

    log.info("an error of Ray", exc_info=error)
    if known := cause(error):
        return first_line(known)
    if isinstance(error, (RayActorError, WorkerCrashedError)):
        return f"a process of Ray ended unexpectedly, perhaps for lack of memory; {LOGS_HINT}"
    root = error.cause if isinstance(error, RayTaskError) else error
    is_complete = not isinstance(error, RayError) and len(str(root).strip().splitlines()) < 2
    first = first_line(root)
    return first if is_complete else f"{first.rstrip(' .:')}; {LOGS_HINT}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)
