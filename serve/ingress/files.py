"""Files that are written in one step.

Standard library only: see main.py.
"""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a file in one step: others read the old text or the new one.

    Raises:
        OSError: it cannot be written, for example on a full disk; the file stays as it is.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
