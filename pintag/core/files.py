"""Atomic writes of files and folders, and the folder of the user's cache."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pintag.core.errors import DataError
from pintag.core.text import valid

# From <fcntl.h> and <linux/fs.h>.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644


def cache() -> Path:
    """The user's cache: `$XDG_CACHE_HOME/pintag`, or `~/.cache/pintag`. It is safe to delete.

    Raises:
        DataError: the user has no home, as in a container that runs as any user.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "pintag"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise DataError(
            "this user has no home for the cache: set XDG_CACHE_HOME to a folder"
        ) from error


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a new empty folder that replaces `target` when the block succeeds.

    Until then `target` is unchanged. After an exception it stays unchanged, and the new folder is
    removed. If `target` is a symbolic link, the folder that it points to is replaced.

    Raises:
        NotADirectoryError: `target` is a file.
    """
    target = target.resolve()
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield new
        _open_to_readers(new)
        _replace(target, new)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _open_to_readers(folder: Path) -> None:
    """Let other users read a folder and all in it: a server may run as another user.

    mkdtemp gives access only to the owner, and so does the umask of some users.
    """
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(_FOLDER_MODE if path.is_dir() else _FILE_MODE)


def _replace(target: Path, new: Path) -> None:
    """Put `new` in the place of `target`, and delete what was there; undo it on failure.

    Linux exchanges two folders in one step. Where the kernel or the file system cannot, as on NFS,
    there is no `target` for a moment between two renames.
    """
    if not target.exists():
        new.rename(target)
        return
    if _exchange(target, new):
        shutil.rmtree(new, ignore_errors=True)
        return
    old = new.with_name(new.name + ".old")
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; return False if the system cannot."""
    # Python has no function for this system call; the C library of Linux has one.
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = (os.fsencode(one), os.fsencode(other))
    if rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(one))


def reason(error: OSError) -> str:
    """Why the system refused, without a file's name: for a full disk, with the remedy."""
    # Libraries have long texts of their own for it.
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{os.strerror(error.errno)}; free some space, or choose another folder"
    return error.strerror or str(error)


def explain(error: OSError) -> str:
    """An error of the system in one line: the file and the reason."""
    if not error.filename:
        return str(error)
    return f"{os.fsdecode(error.filename)}: {reason(error)}"


def require_writable(folder: Path) -> None:
    """Create a folder and check that it is writable, before work that takes minutes.

    Raises:
        DataError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {reason(error)}") from error


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a temporary file beside `path`, flush it to disk, and rename it to `path`.

    Text that is not valid Unicode, such as a file name that is not UTF-8, is written with escapes.

    Raises:
        OSError: it cannot be written; the error names `path`.
    """
    content = valid(data).encode() if isinstance(data, str) else data
    with naming(path):
        _write(path, content)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name `path` in every OSError of the block, instead of a temporary file, or of no file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        # Python chooses the class, such as PermissionError, by the number.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp gives access only to the owner.
        Path(name).chmod(_FILE_MODE)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
