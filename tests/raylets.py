"""Starts raylets on this machine, as the nodes of a cluster that refuses all other clients."""

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
# Makes Ray notice within seconds that a node is gone.
FREQUENT_HEALTH_CHECKS = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "2",
}


class Node:
    """A raylet with one processor, and the processes that it has started."""

    def __init__(
        self,
        environment: dict[str, str],
        *options: str,
        core: int | None = None,
        address: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        """Start the node, and wait until it runs.

        Args:
            environment: the variables of its processes; see `cluster_environment`.
            options: additional options of `ray start`.
            core: the only core that its processes may use; by default they may use all.
            address: the address that it listens on.
            within: a command that runs `ray start`, such as `ip netns exec NAME`.
        """

        def limit_cores() -> None:
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
            preexec_fn=limit_cores,
        )  # fmt: skip
        assert self.process.stdout
        output = []
        for line in self.process.stdout:
            output.append(line)
            if "Ray runtime started" in line:
                return
        raise AssertionError("".join(output))

    def processes(self, words: str = "") -> list[psutil.Process]:
        """The processes that the first one started, if their command line contains `words`."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return list(descendants(self.process, words))
        return []

    def runs(self, *kinds: str) -> bool:
        """Whether the command line of any of these processes contains one of the words."""
        return any(self.processes(kind) for kind in kinds)

    def terminate(self, seconds: float = 60.0) -> str:
        """End the node as an orchestrator does, by SIGTERM, and return what Ray prints."""
        process = psutil.Process(self.process.pid)
        # A command that runs `ray start` may not pass the signal on.
        started = [each for each in process.children() if "--block" in each.cmdline()]
        (started or [process])[0].terminate()
        output, _ = self.process.communicate(timeout=seconds)
        return output

    def kill(self) -> None:
        """Kill all processes at once, as when the power fails."""
        with contextlib.suppress(psutil.NoSuchProcess):
            processes = [psutil.Process(self.process.pid), *self.processes()]
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, 30)
        self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()


@contextlib.contextmanager
def cluster_environment() -> Iterator[dict[str, str]]:
    """The environment variables of all processes of a new cluster, with a token and folders."""
    # Paths of sockets must be short: the tests' own folder is too deep.
    with tempfile.TemporaryDirectory(prefix="pintag-", ignore_cleanup_errors=True) as folder:
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        cache = {"XDG_CACHE_HOME": f"{folder}/cache", "RAY_TMPDIR": folder}
        yield os.environ | FREQUENT_HEALTH_CHECKS | token | cache
