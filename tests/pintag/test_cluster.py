"""Ray's workers import the installed packages, whatever is in the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pintag import cluster
from pintag.core.errors import DataError
from tests.conftest import ROOT, free_port, wait_for

pytestmark = pytest.mark.ray

LOGS = "; Ray's logs name the cause (ray/session_latest/logs below RAY_TMPDIR or /tmp)"
# Modules that workers import, and names of our own packages.
NAMES = (
    "pintag", "train", "serve", "bulk", "ray", "numpy", "yaml", "keras", "lime", "pydantic", "PIL",
    "openvino", "tensorflow", "fastapi", "pyarrow", "json", "types",
)  # fmt: skip
# How each command connects to Ray.
CONNECT = {
    "train, study and bulk": """
from pintag import cluster
with cluster.connected():
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


def test_rays_errors_become_one_line(
    ray_cluster: None, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Errors of a real cluster: an actor that is killed, and tasks that raise."""
    caplog.set_level("INFO", "pintag.cluster")
    import ray

    @ray.remote(num_cpus=0)
    class Actor:
        def die(self) -> None:
            os._exit(1)

    @ray.remote(num_cpus=0)
    def fail(error: Exception) -> None:
        raise error

    def reason(result: Any) -> str:
        with pytest.raises(ray.exceptions.RayError) as raised:
            ray.get(result)
        return cluster.reason(raised.value)

    died = "a process of Ray ended unexpectedly, perhaps for lack of memory"
    assert reason(Actor.remote().die.remote()) == died + LOGS  # type: ignore[attr-defined]
    assert reason(fail.remote(ValueError("bad\nsecond line"))) == "bad" + LOGS
    assert reason(fail.remote(DataError("no images"))) == "no images"
    # What the raylet reports about the actor is logged. On standard output it would be among the
    # results of a command.
    wait_for(lambda: "raylet: A worker died" in caplog.text, 60, "the report")
    assert capfd.readouterr() == ("", "")


def test_an_error_of_one_line_is_kept_as_it_is() -> None:
    assert cluster.reason(RuntimeError("no replica starts")) == "no replica starts"
    assert cluster.reason(RuntimeError("deploying failed\n  File x, line 1")) == (
        "deploying failed" + LOGS
    )
    assert cluster.reason(KeyError()) == "KeyError"
