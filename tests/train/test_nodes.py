"""A study on two raylets of this machine: one joins half way, takes work, and is lost."""

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
import pytest

from tests.conftest import PINTAG, free_port, wait_for
from tests.train.small_study import Done, outcomes

pytestmark = [pytest.mark.ray, pytest.mark.keras]

RAY = Path(sys.executable).with_name("ray")
QUICK_TO_NOTICE = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "2",
}


class Node:
    """A raylet of one processor, with all that it started."""

    def __init__(self, environment: dict[str, str], *options: str) -> None:
        self._process = subprocess.Popen(
            [
                RAY, "start", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1",
                "--disable-usage-stats", *options,
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        assert self._process.stdout
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                return
        raise AssertionError("".join(said))

    @property
    def works(self) -> bool:
        """Whether a trial or an actor of the pool is on it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return any(
                kind in name
                for kind in ("ray::ImplicitFunc", "ray::MapWorker")
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


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Of a cluster that nobody else can speak to, and that soon sees that a node is gone."""
    # Paths of sockets are short: not below the tests' own folder.
    with tempfile.TemporaryDirectory(prefix="pintag-", ignore_cleanup_errors=True) as folder:
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        cache = {"XDG_CACHE_HOME": f"{folder}/cache", "RAY_TMPDIR": folder}
        yield os.environ | QUICK_TO_NOTICE | token | cache


def test_a_node_that_joins_takes_work_and_takes_none_of_it_with_it(
    done: Done, config: Path, data: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    port, out = free_port(), tmp_path / "out"
    address, log = f"127.0.0.1:{port}", tmp_path / "log"
    with contextlib.ExitStack() as ending:
        head = Node(environment, "--head", f"--port={port}", "--include-dashboard=false")
        ending.callback(head.kill)
        study = subprocess.Popen(
            [PINTAG, "study", config, "--data", data, "--out", out],
            env=environment | {"RAY_ADDRESS": address},
            stderr=ending.enter_context(log.open("w")),
        )
        ending.callback(study.kill)
        wait_for(lambda: outcomes(out) or study.poll() is not None, 200, "the first outcome")
        assert study.poll() is None, log.read_text()
        second = Node(environment, f"--address={address}")
        ending.callback(second.kill)
        wait_for(lambda: second.works or study.poll() is not None, 200, "work on the second node")
        assert study.poll() is None, "over before the second node had work"
        second.kill()
        assert study.wait(300) == 0, log.read_text()
    assert (out / "results.json").read_bytes() == (done.out / "results.json").read_bytes()
