"""Workers import the installed packages; a node that starts late is started again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pintag.cluster import connection
from pintag.core.errors import ClusterError
from tests.conftest import ROOT, free_port

pytestmark = pytest.mark.ray

# Modules that workers import, and names of our own packages.
NAMES = (
    "pintag", "train", "serve", "bulk", "ray", "numpy", "yaml", "keras", "lime", "pydantic", "PIL",
    "openvino", "tensorflow", "fastapi", "pyarrow", "json", "types",
)  # fmt: skip
# How each command connects to Ray.
CONNECT = {
    "train, study and bulk": """
from pintag.cluster import connection
with connection.connected():
    print_origins({names!r})
""",
    "serve": """
from pintag.serve.lifecycle import server
from pintag.serve.config import ServeConfig
config = ServeConfig(http={{"port": {ports[0]}}}, metrics={{"port": {ports[1]}}})
server._set_variables(config)
server._connect(config)
print_origins({names!r})
ray.shutdown()
""",
}
# Prints where workers find the modules. They are not imported, which would take long.
SCRIPT = """
import importlib.util, os

def print_origins(names):
    global ray
    import ray

    @ray.remote(num_cpus=0)
    def find():
        specs = [importlib.util.find_spec(name) for name in names]
        return [spec.origin for spec in specs if spec], os.getcwd()

    found, folder = ray.get(find.remote())
    print(folder, *found, sep="\\n")
"""


@pytest.mark.parametrize("command", CONNECT)
def test_workers_import_no_module_of_the_working_directory(tmp_path: Path, command: str) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is the user's module')")
    script = SCRIPT + CONNECT[command].format(names=NAMES, ports=[free_port(), free_port()])
    done = subprocess.run(
        # Like the command `pintag`, this process does not search the working directory itself.
        [sys.executable, "-P", "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_raylet_start_wait_time_s": "300"},
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder, *origins = done.stdout.splitlines()
    # Relative paths still mean the same in a worker.
    assert folder == str(tmp_path)
    assert len(origins) > len(NAMES) - 5
    assert [origin for origin in origins if origin.startswith(str(tmp_path))] == []


class BusyMachine:
    """A `ray.init` that starts a process, and fails some times, as on a busy machine."""

    def __init__(self, failures: int, words: str) -> None:
        self.failures, self.words = failures, words
        self.started: list[subprocess.Popen[bytes]] = []

    def __call__(self, **_: object) -> str:
        from ray._private import services

        self.started.append(services.ConsolePopen(["sleep", "600"]))
        if len(self.started) <= self.failures:
            raise Exception(self.words)
        return "connected"

    def ended(self) -> list[bool]:
        """Whether each process has been killed; the others are killed now."""
        codes = [process.poll() for process in self.started]
        for process in self.started:
            process.kill()
            process.wait()
        return [code is not None for code in codes]


LATE = "The current node timed out during startup. The GCS has become overloaded."


def test_a_node_that_does_not_start_in_time_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    busy = BusyMachine(2, LATE)
    monkeypatch.setattr("ray.init", busy)
    assert connection.start({}) == "connected"
    for process in busy.started[:2]:
        process.wait(30)
    assert busy.ended() == [True, True, False]


@pytest.mark.parametrize(("words", "attempts"), [(LATE, 3), ("no such option", 1)])
def test_a_node_that_never_starts_is_an_error(
    monkeypatch: pytest.MonkeyPatch, words: str, attempts: int
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    busy = BusyMachine(9, words)
    monkeypatch.setattr("ray.init", busy)
    with pytest.raises(ClusterError, match=r"^no Ray cluster: "):
        connection.start({})
    for process in busy.started:
        process.wait(30)
    assert busy.ended() == [True] * attempts


def test_an_existing_connection_is_used_and_changes_no_variable(ray_cluster: None) -> None:
    """A new token would be another one than the cluster's, also for commands that this starts."""
    before = dict(os.environ)
    with connection.connected():
        pass
    assert dict(os.environ) == before
