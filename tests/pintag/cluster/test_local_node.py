"""The processes of a local Ray: a command notices their end, and leaves none of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.conftest import ROOT, descendants, lives, wait_for

pytestmark = pytest.mark.ray

# Connects as `train`, `study` and `bulk` do, and works until it is interrupted.
SCRIPT = """
import time
from pintag.cluster import connection
from pintag.core.errors import ClusterError

try:
    with connection.connected():
        import ray

        @ray.remote(num_cpus=0)
        def work():
            time.sleep(600)

        running = work.remote()
        print("connected", flush=True)
        ray.get(running)
except ClusterError as error:
    print(error)
except KeyboardInterrupt:
    print("interrupted")
"""


@contextmanager
def working() -> Iterator[tuple[subprocess.Popen[str], dict[psutil.Process, str]]]:
    """A process that works on a local Ray, in a group of its own, and Ray's processes by name."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_raylet_start_wait_time_s": "300"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            assert process.stdout.readline() == "connected\n"
            yield process, descendants(process)
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_process_of_ray_that_is_killed_is_named_and_no_other_is_left(name: str) -> None:
    with working() as (process, started):
        (lost,) = [each for each, its_name in started.items() if its_name == name]
        lost.kill()
        output, errors = process.communicate(timeout=120)
        wait_for(lambda: not any(map(lives, started)), 20, "the end of Ray")
    assert output.startswith(f"Ray's process {name} was ended by SIGKILL"), output
    assert "run the same command again" in output
    assert (output.count("\n"), errors) == (1, "")


def test_a_signal_to_the_group_of_a_command_reaches_ray_through_the_command() -> None:
    with working() as (process, started):
        groups = {name: os.getpgid(each.pid) for each, name in started.items()}
        assert process.pid not in groups.values()
        os.killpg(process.pid, signal.SIGTERM)
        output, errors = process.communicate(timeout=120)
        wait_for(lambda: not any(map(lives, started)), 20, "the end of Ray")
    assert (output, errors) == ("interrupted\n", "")
