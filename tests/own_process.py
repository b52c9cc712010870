"""Runs a test in a process of its own."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.conftest import ROOT

_RUN = """
import importlib, pickle, sys
module, name, arguments = pickle.loads(bytes.fromhex(sys.argv[1]))
getattr(importlib.import_module(module), name).__wrapped__(**arguments)
"""


def in_own_process(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test that sends signals to its own process; its arguments are plain values.

    Libraries that other tests have loaded may change what a signal does: SIGINT has ended workers
    of pytest-xdist after many tests of Ray and TensorFlow.
    """

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        call = pickle.dumps((test.__module__, test.__name__, arguments)).hex()
        done = subprocess.run(
            [sys.executable, "-c", _RUN, call],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr

    return run
