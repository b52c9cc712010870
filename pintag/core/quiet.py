"""Silence libraries that write to the standard error of the process."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def quiet() -> Iterator[None]:
    """Discard everything written to file descriptor 2, by Python and by native code.

    Use it only around code that raises an exception on failure: its messages are lost.
    """
    if sys.stderr is None:
        # Standard error was closed at start-up, so descriptor 2 may be any file by now.
        yield
        return
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def import_quietly(module: str) -> None:
    """Import a module that writes to standard error while it loads.

    TensorFlow logs about the processor and missing GPUs before its log level applies.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        importlib.import_module(module)
