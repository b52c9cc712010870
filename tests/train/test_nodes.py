"""A study on two raylets of this machine: one joins half way, takes work, and is lost."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PINTAG, free_port, wait_for
from tests.raylets import Node, secluded
from tests.train.small_study import Done, outcomes

pytestmark = [pytest.mark.ray, pytest.mark.keras]

# Processes of Ray that run a trial, or an actor of a pool.
WORK = ("ray::ImplicitFunc", "ray::MapWorker")


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Of a cluster of its own."""
    with secluded() as found:
        yield found


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
        wait_for(
            lambda: second.runs(*WORK) or study.poll() is not None, 200, "work on the second node"
        )
        assert study.poll() is None, "over before the second node had work"
        second.kill()
        assert study.wait(300) == 0, log.read_text()
    assert (out / "results.json").read_bytes() == (done.out / "results.json").read_bytes()
