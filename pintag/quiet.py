"""Libraries that write to the process's own standard error, where nobody reads it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing reaches file descriptor 2, of which Python's warnings and native code know alike.

    Only around what raises an exception when it fails: all else that it says is lost.
    """
    if sys.stderr is None:
        # It was closed before we began, and the descriptor may be anything by now.
        yield
        return
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
