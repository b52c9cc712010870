"""Raylets of this machine, as the nodes of a cluster that nobody else can speak to."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

RAY = Path(sys.executable).with_name("ray")
# That soon sees that a node is gone.
QUICK_TO_NOTICE = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "2",
}


class Node:
    """A raylet of one processor, with all that it started."""

    def __init__(self, environment: dict[str, str], *options: str, core: int | None = None) -> None:
        """Started when this returns; `core` keeps it to one of the machine's."""

        def keep() -> None:
            if core is not None:
                os.sched_setaffinity(0, {core})

        self._process = subprocess.Popen(
            [
                RAY, "start", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1",
                "--disable-usage-stats", *options,
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=keep,
        )  # fmt: skip
        assert self._process.stdout
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                return
        raise AssertionError("".join(said))

    def runs(self, *kinds: str) -> bool:
        """Whether a process of it has one of these in its name."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return any(
                kind in name
                for kind in kinds
                for name in map(_name, psutil.Process(self._process.pid).children(recursive=True))
            )
        return False

    def kill(self) -> None:
        """As when the power fails: nothing of it has time for a farewell."""
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self._process.pid)
            everything = [top, *top.children(recursive=True)]
            for each in everything:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            psutil.wait_procs(everything, 30)
        self._process.wait(30)
        assert self._process.stdout
        self._process.stdout.close()


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


@contextlib.contextmanager
def secluded() -> Iterator[dict[str, str]]:
    """The environment of all that belongs to one cluster."""
    # Paths of sockets are short: not below the tests' own folder.
    with tempfile.TemporaryDirectory(prefix="pintag-", ignore_cleanup_errors=True) as folder:
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        cache = {"XDG_CACHE_HOME": f"{folder}/cache", "RAY_TMPDIR": folder}
        yield os.environ | QUICK_TO_NOTICE | token | cache
