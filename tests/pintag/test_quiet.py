"""Quiet: nothing of a block reaches standard error, and everything after it does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pintag.quiet import quiet

SCRIPT = """
import os, sys
from pintag.quiet import quiet

os.write(2, b"before ")
with quiet():
    os.write(2, b"within ")
    print("within", file=sys.stderr, flush=True)
os.write(2, b"after")
"""


def test_native_code_and_python_are_muted_alike() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    assert done.stderr == b"before after"


def test_an_error_leaves_nothing_muted() -> None:
    before = os.fstat(2)
    with pytest.raises(ValueError, match="wrong"), quiet():
        raise ValueError("wrong")
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)


def test_a_standard_error_that_is_closed_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    before = os.fstat(2)
    with quiet():
        assert os.fstat(2) == before
