"""Files and folders that appear whole or not at all, and where copies are kept."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache() -> Path:
    """What can be had again at some cost: `$XDG_CACHE_HOME/pintag`, or `~/.cache/pintag`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pintag"


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target` that takes its place when the block ends well.

    Whatever stood at `target` is replaced at that moment and not before; after an exception it
    stands as it was, and the new folder is gone.
    """
    # A link stays, and what it points to is replaced.
    target = target.resolve()
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    # mkdtemp makes a folder for its owner alone; a bundle is for whoever may read its parent.
    made.chmod(0o755)
    try:
        yield made
        if target.exists():
            old = made.with_name(made.name + ".old")
            target.rename(old)
            try:
                made.rename(target)
            except BaseException:
                old.rename(target)
                raise
            shutil.rmtree(old)
        else:
            made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file beside its name, flush it to the disk, and rename it into place."""
    content = data.encode() if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes a file for its owner alone.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
