"""Functions that are called on each node of a cluster, also while one of them ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import free_port, wait_for
from tests.raylets import Node, cluster_environment

pytestmark = pytest.mark.ray

# Calls a function on each node. It creates a file with the id of its node, and waits for `go`.
PROGRAM = """
import json, sys
from pintag.cluster import connection
from pintag.serve.nodes import tasks

def identify(folder):
    import pathlib, ray, time
    node = ray.get_runtime_context().get_node_id()
    pathlib.Path(folder, node).touch()
    while not pathlib.Path(folder, "go").exists():
        time.sleep(0.05)
    return node

with connection.connected():
    print(json.dumps(tasks.call_on_each(identify, sys.argv[1])))
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Node, subprocess.Popen[str]]]:
    """The second of two nodes with one address, and the program, which has a call on each."""
    port = free_port()
    with cluster_environment() as environment:
        head = Node(environment, "--head", f"--port={port}", "--include-dashboard=false")
        second = Node(environment, f"--address=127.0.0.1:{port}")
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, tmp_path],
            env=environment | {"RAY_ADDRESS": f"127.0.0.1:{port}"},
            stdout=subprocess.PIPE,
            text=True,
        ) as program:
            wait_for(lambda: len(list(tmp_path.iterdir())) == 2, 200, "a call on each node")
            yield second, program
            program.kill()
        second.kill()
        head.kill()


def results(program: subprocess.Popen[str]) -> dict[str, str]:
    """What the program prints: the id of each node by its name."""
    output, _ = program.communicate(timeout=200)
    assert program.returncode == 0
    by_name: dict[str, str] = json.loads(output)
    return by_name


def test_two_nodes_of_one_host_are_two(
    started: tuple[Node, subprocess.Popen[str]], tmp_path: Path
) -> None:
    _, program = started
    called = {path.name for path in tmp_path.iterdir()}
    (tmp_path / "go").touch()
    by_name = results(program)
    assert set(by_name.values()) == called
    assert all(name.endswith(f" ({node[:8]})") for name, node in by_name.items())


def test_a_node_that_ends_during_a_call_has_no_result(
    started: tuple[Node, subprocess.Popen[str]], tmp_path: Path
) -> None:
    second, program = started
    second.kill()
    (tmp_path / "go").touch()
    assert len(results(program)) == 1
