"""Ray's workers import the installed packages, whatever is in the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, free_port

pytestmark = pytest.mark.ray

# Modules that workers import, and names of our own packages.
NAMES = (
    "pintag", "train", "serve", "bulk", "ray", "numpy", "yaml", "keras", "lime", "pydantic", "PIL",
    "openvino", "tensorflow", "fastapi", "pyarrow", "json", "types",
)  # fmt: skip
# How each command connects to Ray.
CONNECT = {
    "train, study and bulk": (
        "from pintag import cluster; kept = cluster.connected(); kept.__enter__()"
    ),
    "serve": (
        "from pintag.serve import server; from pintag.serve.config import ServeConfig;"
        "config = ServeConfig(http={{'port': {}}}, metrics={{'port': {}}});"
        "server._set_variables(config); server._connect(config)"
    ),
}
# Prints where workers find the modules. They are not imported, which would take long.
SCRIPT = """
import importlib.util, os, sys
import ray

@ray.remote(num_cpus=0)
def find(names):
    specs = [importlib.util.find_spec(name) for name in names]
    return [spec.origin for spec in specs if spec], os.getcwd()

found, folder = ray.get(find.remote({names!r}))
print(folder, *found, sep="\\n")
ray.shutdown()
"""


@pytest.mark.parametrize("command", CONNECT)
def test_workers_import_no_module_of_the_working_directory(tmp_path: Path, command: str) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is the user's module')")
    connect = CONNECT[command].format(free_port(), free_port())
    done = subprocess.run(
        # Like the command `pintag`, this process does not search the working directory itself.
        [sys.executable, "-P", "-c", connect + SCRIPT.format(names=NAMES)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_raylet_start_wait_time_s": "300"},
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder, *origins = done.stdout.splitlines()
    # Relative paths still mean the same in a worker.
    assert folder == str(tmp_path)
    assert len(origins) > len(NAMES) - 5
    assert [origin for origin in origins if origin.startswith(str(tmp_path))] == []
