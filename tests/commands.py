"""The `pintag` command on the Ray cluster of the tests: in this process, or in a separate one.

A command in this process needs no start of Ray and no import of TensorFlow, which take seconds.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import ray

from pintag.cli import main
from tests.conftest import PINTAG

# The variables by which other processes join the cluster of `ray_cluster`.
cluster_environment: dict[str, str] = {}


def run_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, and return its exit code and output."""
    command = ["pintag", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, {"XDG_CACHE_HOME": os.environ["PINTAG_TEST_CACHE"]}),
        patch.object(sys, "argv", command),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        # Warnings are not errors, as in a command that runs in a separate process.
        warnings.catch_warnings(action="ignore"),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    code = int(ended.value.code or 0)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def running(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Start the command in a separate process, connected to the Ray cluster of this process."""
    environment = cluster_environment | {
        "XDG_CACHE_HOME": os.environ["PINTAG_TEST_CACHE"],
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
    }
    with subprocess.Popen(
        [PINTAG, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
