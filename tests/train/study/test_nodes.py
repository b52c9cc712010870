"""A study on a cluster whose second node joins late, takes work, and is lost."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PINTAG, free_port, wait_for
from tests.raylets import Node, cluster_environment
from tests.train.small_study import FinishedStudy, finished_trials

pytestmark = [pytest.mark.ray, pytest.mark.keras]

# Ray's processes for trials.
WORK = "ray::ImplicitFunc"


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """The environment of a separate cluster, which reads the cached features of the small study."""
    with cluster_environment() as variables:
        yield variables | {"XDG_CACHE_HOME": os.environ["PINTAG_TEST_CACHE"]}


@pytest.mark.slow
def test_a_new_node_takes_work_and_its_loss_loses_no_result(
    finished: FinishedStudy, config: Path, data: Path, environment: dict[str, str], tmp_path: Path
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
        wait_for(lambda: finished_trials(out) or study.poll() is not None, 200, "the first result")
        assert study.poll() is None, log.read_text()
        second = Node(environment, f"--address={address}")
        ending.callback(second.kill)
        wait_for(
            lambda: second.runs(WORK) or study.poll() is not None, 200, "work on the second node"
        )
        assert study.poll() is None, "the study ended before the second node had work"
        second.kill()
        assert study.wait(300) == 0, log.read_text()
    assert (out / "results.json").read_bytes() == (finished.out / "results.json").read_bytes()
