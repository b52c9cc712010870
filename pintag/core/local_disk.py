"""Files and folders of a local disk, for `Store`; names may be any bytes.

`pyarrow.fs` encodes paths as UTF-8, so it has no name for a file that was named in Latin-1.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

FileKind = Literal["file", "folder", "other", "none"]
# Such a path names nothing, whatever the reason.
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class Entry(NamedTuple):
    """A file or folder of a folder."""

    path: str
    is_file: bool

    @property
    def base_name(self) -> str:
        return posixpath.basename(self.path)


def kind(path: str) -> FileKind:
    """What a path names; a link is what it leads to.

    Raises:
        OSError: that cannot be found out, as in a locked folder.
    """
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        if error.errno in _NOWHERE:
            return "none"
        raise
    # The path contains a NUL character, or half a character of UTF-16.
    except ValueError:
        return "none"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "other"


def modified(path: str) -> int:
    """When a file was last written, in nanoseconds since 1970; 0: there is none."""
    try:
        return Path(path).stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def entries(folder: str, *, missing: bool) -> list[Entry]:
    """The files and folders of a folder, sorted by path.

    Args:
        missing: a folder that does not exist has no entries, nor has a file.
    """
    try:
        with os.scandir(folder) as scan:
            found = [Entry(each.path, each.is_file()) for each in scan]
    except (FileNotFoundError, NotADirectoryError):
        if not missing:
            raise
        return []
    return sorted(found)


def opened(path: str) -> BinaryIO:
    """Open a file for reading. A pipe is not buffered: it is read as it is written."""
    if kind(path) == "other":
        return Path(path).open("rb", buffering=0)
    return Path(path).open("rb")
