"""Folders and files, on this machine's disks or in object storage (`s3://`, `gs://`).

A *place* is a path, or a URI as `pyarrow.fs` knows them:
`s3://bucket/prefix?endpoint_override=localhost:9000&scheme=http`.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pintag import files
from pintag.errors import DataError

# What is asked of a store at once, and takes as much memory.
_CHUNK = 8 * 2**20
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_DENIED = f"access denied; {_KEYS} say who asks"
# By what AWS calls it, what is wrong with a request that somebody can mend.
_MEANINGS = {
    "NO_SUCH_BUCKET": "there is no such bucket",
    "ACCESS_DENIED": _DENIED,
    "INVALID_ACCESS_KEY_ID": _DENIED,
    "SIGNATURE_DOES_NOT_MATCH": _DENIED,
    "NETWORK_CONNECTION": "cannot be reached",
}


class Store:
    """A folder somewhere."""

    def __init__(self, place: str) -> None:
        """Nothing is read yet.

        Raises:
            DataError: it is no such URI.
        """
        import pyarrow.fs

        self.place = place
        if not is_remote(place):
            self.root = str(Path(place).absolute())
            self._fs = pyarrow.fs.LocalFileSystem()
            return
        if urlsplit(place).password is not None:
            said = f"keys are not for URIs, which are logged, but for {_KEYS}"
            raise DataError(f"{self.scheme}://…@{urlsplit(place).hostname}: {said}")
        with self._told():
            self._fs, self.root = pyarrow.fs.FileSystem.from_uri(place)
        self.root = self.root.rstrip("/")

    @property
    def scheme(self) -> str:
        """Of the URIs of its files: empty for this machine's disks."""
        return urlsplit(self.place).scheme if is_remote(self.place) else ""

    def uri(self, path: str) -> str:
        """The name of a file for people, without what only says how it is reached."""
        return f"{self.scheme}://{path}" if self.scheme else path

    def join(self, name: str) -> str:
        """The path of a file by its name inside the folder."""
        return posixpath.join(self.root, name)

    def is_file(self) -> bool:
        """Whether the place is a file, and no folder.

        Raises:
            DataError: there is nothing.
        """
        import pyarrow.fs

        kind = self._kind(self.root)
        if kind == pyarrow.fs.FileType.NotFound:
            raise DataError(f"{bare(self.place)}: there is nothing here")
        return bool(kind == pyarrow.fs.FileType.File)

    def has(self, name: str) -> bool:
        """Whether there is a file of a name inside the folder."""
        import pyarrow.fs

        return bool(self._kind(self.join(name)) == pyarrow.fs.FileType.File)

    def walk(self) -> Iterator[str]:
        """The paths of all files below, in the order of their names, folder by folder."""
        waiting = [self.root]
        while waiting:
            folders = []
            for info in self._list(waiting.pop()):
                if info.is_file:
                    yield info.path
                elif not posixpath.basename(info.path).startswith("."):
                    folders.append(info.path)
            waiting += reversed(folders)

    def names(self) -> set[str]:
        """The names of the files in the folder itself; none where there is no folder."""
        return {info.base_name for info in self._list(self.root, missing=True) if info.is_file}

    def folders(self) -> set[str]:
        """The names of the folders in the folder itself; none where there is no folder."""
        return {info.base_name for info in self._list(self.root, missing=True) if not info.is_file}

    def open(self, path: str) -> Any:
        """A file of pyarrow, to be read at random."""
        with self._told():
            return self._fs.open_input_file(path)

    def read(self, path: str) -> bytes:
        """A whole file.

        Raises:
            DataError: it cannot be read.
        """
        with self.open(path) as file, self._told():
            return bytes(file.read())

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        if not self.scheme:
            try:
                Path(self.root).mkdir(parents=True, exist_ok=True)
                files.write_atomic(Path(self.join(name)), content)
            except OSError as error:
                raise DataError(f"{self.join(name)}: cannot be written: {error}") from error
            return
        # An object appears when its upload is complete, which is when it is closed.
        with self._told(), self._fs.open_output_stream(self.join(name)) as stream:
            stream.write(content)

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file of the folder to this machine's disk."""
        import pyarrow.fs

        here = pyarrow.fs.LocalFileSystem()
        with self._told():
            pyarrow.fs.copy_files(self.join(name), str(path), self._fs, here, chunk_size=_CHUNK)

    def put(self, path: Path, name: str) -> None:
        """Copy a file of this machine's disk into the folder."""
        import pyarrow.fs

        here = pyarrow.fs.LocalFileSystem()
        with self._told():
            pyarrow.fs.copy_files(str(path), self.join(name), here, self._fs, chunk_size=_CHUNK)

    def _kind(self, path: str) -> Any:
        import pyarrow.fs

        with self._told():
            kind = self._fs.get_file_info(path).type
        if kind == pyarrow.fs.FileType.NotFound:
            self._check_bucket()
        return kind

    def _check_bucket(self) -> None:
        """What is not there may be nowhere: a store says no more of it than that."""
        import pyarrow.fs

        bucket = self.root.partition("/")[0]
        # Who may read may not be let near the bucket itself.
        with contextlib.suppress(OSError):
            if bucket and self._fs.get_file_info(bucket).type == pyarrow.fs.FileType.NotFound:
                raise DataError(f"{bare(self.place)}: {_MEANINGS['NO_SUCH_BUCKET']}")

    def _list(self, folder: str, *, missing: bool = False) -> list[Any]:
        import pyarrow.fs

        selector = pyarrow.fs.FileSelector(folder, allow_not_found=missing)
        # A file has none inside, either.
        none = (NotADirectoryError,) if missing else ()
        with self._told(), contextlib.suppress(*none):
            return sorted(self._fs.get_file_info(selector), key=lambda info: info.path)
        return []

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever fails names the place."""
        try:
            yield
        except (OSError, ValueError) as error:
            said = str(error)
            meant = "".join(f"{_MEANINGS[code]}: " for code in _MEANINGS if code in said)
            raise DataError(f"{bare(self.place)}: {meant}{said}") from error


def is_remote(place: str) -> bool:
    """Whether a place is in object storage."""
    return "://" in place


def absolute(place: str) -> str:
    """The same place for a process whose working folder is another."""
    return place if is_remote(place) else str(Path(place).absolute())


def bare(place: str) -> str:
    """A place for people, without what only says how it is reached."""
    return place.partition("?")[0] if is_remote(place) else place


def inside(place: str, name: str) -> str:
    """The place of what a folder has."""
    path = bare(place)
    return posixpath.join(path, name) + place.removeprefix(path)


def last_name(place: str) -> str:
    """What a place is called in its folder."""
    return posixpath.basename(bare(place).rstrip("/"))
