"""Connects to the Ray cluster of `RAY_ADDRESS`; without it, starts one on this machine."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pintag.cluster import failures, local_node, ray_variables
from pintag.core import signals
from pintag.core.errors import ClusterError
from pintag.core.quiet import quiet

log = logging.getLogger(__name__)
# A node's processes have 30 s to find each other, and on a busy machine Python takes longer to
# start. The next attempt finds its files in memory.
_ATTEMPTS = 3


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
    if _is_connected():
        yield
        return
    # Ray reads them when it is imported.
    ray_variables.set_variables()
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


def _is_connected() -> bool:
    """Whether this process has a connection; without importing Ray, which reads its variables."""
    if "ray" not in sys.modules:
        return False
    import ray

    return bool(ray.is_initialized())


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
    for left in reversed(range(_ATTEMPTS)):
        try:
            # Ray's own handler of SIGTERM would end this process without any cleanup.
            with quiet(), signals.kept(signal.SIGTERM), local_node.starting():
                return ray.init(
                    logging_level="ERROR", log_to_driver=False, include_dashboard=False,
                    job_config=_job_config(), **options,
                )  # fmt: skip
        # Ray raises a plain Exception when a node does not start in time on a busy machine.
        except Exception as error:
            if not left or not failures.may_start_later(error):
                raise ClusterError(f"no Ray cluster: {failures.start_reason(error)}") from error
            log.info("Ray's node did not start in time, trying again", exc_info=error)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _log_report(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    log.info("%s: %s", data["pid"], "\n".join(data["lines"]))
