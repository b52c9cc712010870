"""Ray Serve configurations of 0.1 import `serve.app`: it still works, and hides no other module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pintag.serve import export, old_import_paths
from pintag.serve.config import ServeConfig

BUILDERS = ("build", "build_explainer", "build_candidate")
# Imports attributes as Ray Serve does, and prints where each one was defined.
IMPORT = """
import sys
from ray._common.utils import import_attr

def defined(path):
    attribute = import_attr(path)
    return f"{attribute.__module__}:{attribute.__name__}"

print(*map(defined, sys.argv[1:]))
"""
# The same in a worker of a new Ray cluster.
IMPORT_IN_A_WORKER = f"""{IMPORT}
import ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
print(*ray.get([ray.remote(defined).remote(path) for path in sys.argv[1:]]))
"""


def environment_of_a_node(**before: str) -> dict[str, str]:
    """The variables after a shell has read `pintag serve --environment`."""
    done = subprocess.run(
        ["sh", "-c", export.environment(ServeConfig()) + "env -0"],
        env=before, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


def run(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a working directory, with the environment of a node."""
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # By default Ray gives up a node that starts slowly, as on a busy machine.
    patience = {"RAY_raylet_start_wait_time_s": "300"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=inherited | patience | environment_of_a_node(PATH=os.environ["PATH"]),
        cwd=folder, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_the_folder_is_the_last_entry_of_pythonpath() -> None:
    ours = str(old_import_paths.FOLDER)
    assert environment_of_a_node(PATH="/bin:/usr/bin")["PYTHONPATH"] == ours
    both = environment_of_a_node(PATH="/bin:/usr/bin", PYTHONPATH="/a b:/c")["PYTHONPATH"]
    assert both == f"/a b:/c:{ours}"


def test_the_old_import_path_works_and_names_the_new_one(tmp_path: Path) -> None:
    done = run(IMPORT, tmp_path, *(f"serve.app:{name}" for name in BUILDERS))
    expected = " ".join(f"pintag.serve.app:{name}" for name in BUILDERS)
    assert done.stdout.splitlines() == [expected]
    assert "The import path serve.app is deprecated: use pintag.serve.app" in done.stderr


@pytest.mark.ray
def test_modules_of_the_working_directory_do_not_hide_pintags(tmp_path: Path) -> None:
    """Ray's workers search that directory first, and users have files of these names."""
    for name in ("serve", "train", "bulk"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this module is the user\\'s')\n")
    paths = ["pintag.serve.app:build", "pintag.train.config:TrainConfig", "pintag.bulk.job:run"]
    done = run(IMPORT_IN_A_WORKER, tmp_path, *paths)
    assert done.stdout.splitlines() == [" ".join(paths)] * 2
