"""Folders and files, on this machine's disks or in object storage (`s3://`, `gs://`)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pintag import files
from pintag.errors import DataError


class Store:
    """A folder somewhere."""

    def __init__(self, place: str) -> None:
        """Nothing is read yet.

        Args:
            place: a path, or a URI as `pyarrow.fs` knows them:
                `s3://bucket/prefix?endpoint_override=localhost:9000&scheme=http`.

        Raises:
            DataError: it is no such URI.
        """
        import pyarrow.fs

        self.place = place
        if not is_remote(place):
            self.root = str(Path(place).absolute())
            self._fs = pyarrow.fs.LocalFileSystem()
            return
        try:
            self._fs, self.root = pyarrow.fs.FileSystem.from_uri(place)
        except (OSError, ValueError) as error:
            raise DataError(f"{place}: {error}") from error
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

        kind = self._call(self._fs.get_file_info, self.root).type
        if kind == pyarrow.fs.FileType.NotFound:
            raise DataError(f"{self.place}: there is nothing here")
        return bool(kind == pyarrow.fs.FileType.File)

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

    def open(self, path: str) -> Any:
        """A file of pyarrow, to be read at random."""
        return self._call(self._fs.open_input_file, path)

    def read(self, path: str) -> bytes:
        """A whole file.

        Raises:
            DataError: it cannot be read.
        """
        with self.open(path) as file:
            return bytes(self._call(file.read))

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        if not self.scheme:
            try:
                Path(self.root).mkdir(parents=True, exist_ok=True)
                files.write_atomic(Path(self.join(name)), content)
            except OSError as error:
                raise DataError(f"{self.join(name)}: cannot be written: {error}") from error
            return
        # An object appears when its upload is complete.
        with self._call(self._fs.open_output_stream, self.join(name)) as stream:
            self._call(stream.write, content)

    def _list(self, folder: str, *, missing: bool = False) -> list[Any]:
        import pyarrow.fs

        selector = pyarrow.fs.FileSelector(folder, allow_not_found=missing)
        return sorted(self._call(self._fs.get_file_info, selector), key=lambda info: info.path)

    def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.place}: {error}") from error


def is_remote(place: str) -> bool:
    """Whether a place is in object storage."""
    return "://" in place
