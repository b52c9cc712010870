"""`quiet` discards standard error inside its block only."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pintag.core.quiet import quiet

SCRIPT = """
import os, sys
from pintag.core.quiet import quiet

os.write(2, b"before ")
with quiet():
    os.write(2, b"within ")
    print("within", file=sys.stderr, flush=True)
os.write(2, b"after")
"""


def test_output_of_python_and_native_code_is_discarded() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    assert done.stderr == b"before after"


def test_standard_error_is_restored_after_an_exception() -> None:
    before = os.fstat(2)
    with pytest.raises(ValueError, match="wrong"), quiet():
        raise ValueError("wrong")
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)


def test_a_closed_standard_error_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    before = os.fstat(2)
    with quiet():
        assert os.fstat(2) == before
