"""The processes of Ray's node on this machine, if this process has started it.

Nobody starts them again: without the raylet no replica or worker runs, and without the control
store (`gcs_server`) Ray's calls wait for a minute, and end the process that calls.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pintag.cluster.failures import LOGS_HINT
from pintag.core import signals
from pintag.core.errors import ClusterError
from pintag.core.quiet import quiet

# Ray's names of the processes that a node cannot do without.
_NEEDED = ("gcs_server", "raylet")
# It also ends the waiting calls of Ray and of locks.
_INTERRUPT = signal.SIGUSR2
_REMEDY = "run the same command again (`train` and `study`: with --resume)"


@contextmanager
def starting() -> Iterator[None]:
    """A block in which Ray starts its processes, each in a process group of its own.

    `timeout` and other programs send SIGTERM to the whole group of a command. Ray's processes would
    end before this one has ended what runs on them.

    If the block fails, the processes are killed: Ray leaves them until this process ends.
    """
    from ray._private import services

    started: list[subprocess.Popen[bytes]] = []
    popen = services.ConsolePopen

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **options, process_group=0))
        return started[-1]

    services.ConsolePopen = start
    try:
        yield
    except BaseException:
        _kill_groups(process.pid for process in started)
        raise
    finally:
        services.ConsolePopen = popen


@contextmanager
def watched() -> Iterator[Callable[[], None]]:
    """Interrupt the block, as Ctrl-C does, when one of the node's processes ends.

    Only the main thread can be interrupted: in other threads nothing is watched.

    Yields:
        A function that raises the ClusterError, for a block that handles interrupts itself.

    Raises:
        ClusterError: a process has ended; in place of the KeyboardInterrupt.
    """
    with signals.handled(signal.default_int_handler, _INTERRUPT):
        watch = _Watch()
        try:
            try:
                yield watch.check
            finally:
                watch.end()
        except KeyboardInterrupt:
            watch.check()
            raise


def has_ended() -> bool:
    """Whether one of the node's processes has ended."""
    return any(process.poll() is not None for process in _processes().values())


def shut_down() -> None:
    """Disconnect from Ray, and end the node if this process has started it.

    SIGINT and SIGTERM do not interrupt that: processes would be left.
    """
    import ray

    with signals.handled(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM):
        if has_ended():
            _end_rest()
        else:
            ray.shutdown()


def _end_rest() -> None:
    """End what is left of a node, one of whose processes has ended."""
    import ray

    groups = [process.pid for process in _processes().values()]
    # Ray's native code reports each call that fails.
    with quiet():
        ray.shutdown()
    # Without a control store the raylet's own helpers would wait for it, and keep their ports.
    _kill_groups(groups)


def _kill_groups(groups: Iterable[int]) -> None:
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


class _Watch:
    """Waits in threads for the end of a process, and then interrupts the main thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_over = False
        self._lost = ""
        if threading.current_thread() is threading.main_thread():
            for each in _processes().items():
                threading.Thread(target=self._wait, args=each, daemon=True).start()

    def check(self) -> None:
        if self._lost:
            raise ClusterError(self._lost)

    def end(self) -> None:
        """Interrupt nothing from now on."""
        with self._lock:
            self._is_over = True

    def _wait(self, name: str, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with self._lock:
            if self._is_over or self._lost:
                return
            self._lost = f"Ray's process {name} {_end(code)}; {_REMEDY}; {LOGS_HINT}"
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, _INTERRUPT)


def _processes() -> dict[str, subprocess.Popen[bytes]]:
    """The needed processes that this process has started, by name; none on a cluster of others."""
    from ray._private import worker

    started = worker._global_node.all_processes if worker._global_node else {}
    return {name: started[name][0].process for name in _NEEDED if name in started}


def _end(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"ended with exit code {code}"
    # The kernel uses this signal when memory is short.
    hint = ", perhaps for lack of memory" if code == -signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{hint}"
