"""Raylets of this machine, as the nodes of a cluster that nobody else can speak to."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from tests.conftest import descendants

RAY = Path(sys.executable).with_name("ray")
# That soon sees that a node is gone.
QUICK_TO_NOTICE = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "2",
}


class Node:
    """A raylet of one processor, with all that it started."""

    def __init__(
        self,
        environment: dict[str, str],
        *options: str,
        core: int | None = None,
        address: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        """Started when this returns.

        Args:
            core: keeps it to one of the machine's.
            within: a command that runs another one, as in a network of its own.
        """

        def keep() -> None:
            if core is not None:
                os.sched_setaffinity(0, {core})

        self.process = subprocess.Popen(
            [
                *within, RAY, "start", "--block", "--num-cpus=1", f"--node-ip-address={address}",
                "--disable-usage-stats", *options,
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=keep,
        )  # fmt: skip
        assert self.process.stdout
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                return
        raise AssertionError("".join(said))

    def processes(self, words: str = "") -> list[psutil.Process]:
        """All of it but the first, or those that have these words in their command."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return list(descendants(self.process, words))
        return []

    def runs(self, *kinds: str) -> bool:
        """Whether a process of it has one of these in its command."""
        return any(self.processes(kind) for kind in kinds)

    def kill(self) -> None:
        """As when the power fails: nothing of it has time for a farewell."""
        with contextlib.suppress(psutil.NoSuchProcess):
            everything = [psutil.Process(self.process.pid), *self.processes()]
            for each in everything:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            psutil.wait_procs(everything, 30)
        self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()


@contextlib.contextmanager
def secluded() -> Iterator[dict[str, str]]:
    """The environment of all that belongs to one cluster."""
    # Paths of sockets are short: not below the tests' own folder.
    with tempfile.TemporaryDirectory(prefix="pintag-", ignore_cleanup_errors=True) as folder:
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        cache = {"XDG_CACHE_HOME": f"{folder}/cache", "RAY_TMPDIR": folder}
        yield os.environ | QUICK_TO_NOTICE | token | cache
