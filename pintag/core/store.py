"""Files and folders on local disks or in object storage (`s3://`, `gs://`).

A folder is named by a local path, a `file://` URI, or a URI with the options of `pyarrow.fs`:
`s3://bucket/prefix?endpoint_override=localhost:9000&scheme=http`. The path of an object is written
as it is, as in the tools of AWS: `s3://bucket/100% new/a b.jpg`.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, unquote_to_bytes, urlsplit

from pintag.core import files, local_disk
from pintag.core.errors import DataError

# Seconds to connect to S3, and without a byte of an answer; and how often it is tried.
_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S, _ATTEMPTS = 5.0, 10.0, 3
_LOST_OPTIONS = {"tls_verify_certificates", "smart_defaults"}
# Seconds for all attempts of a call to Google's storage.
_GCS_LIMIT_S = 30
# Bytes per request; a copy needs as much memory.
_CHUNK = 8 * 2**20
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_DENIED = f"access denied; set {_KEYS}"
# pyarrow knows more, and ends the process over some of them.
_SCHEMES = ("s3", "gs", "gcs")
# A file URI: Java writes file:/folder/file.
_FILE = re.compile(r"file:(?=/)", re.IGNORECASE)
# AWS error codes with a cause that the user can fix.
_CAUSES = {
    "NO_SUCH_BUCKET": "there is no such bucket",
    "ACCESS_DENIED": _DENIED,
    "INVALID_ACCESS_KEY_ID": _DENIED,
    "SIGNATURE_DOES_NOT_MATCH": _DENIED,
    "NETWORK_CONNECTION": "cannot be reached",
}


class Store:
    """One folder, local or remote."""

    def __init__(self, uri: str) -> None:
        """Parse the path or URI; nothing is read yet.

        Raises:
            DataError: the path is empty; or the URI is malformed, has no bucket, or has a password.
        """
        self.uri = uri = local(uri)
        # An empty path would be the working directory.
        if not uri:
            raise DataError("an empty path names no file or folder")
        if not is_remote(uri):
            self.root = str(Path(uri).absolute())
            return
        _refuse_keys(uri)
        if uri.partition("://")[0] not in _SCHEMES:
            problem = "neither a local path nor a URI of s3:// or gs://"
            raise DataError(f"{without_query(uri)}: {problem}")
        if not urlsplit(uri).netloc:
            raise DataError(f"{without_query(uri)}: there is no bucket in this URI")
        import pyarrow.fs

        with self._name_in_errors():
            found, root = pyarrow.fs.FileSystem.from_uri(_with_time_limit(_quoted(uri)))
            self._fs = _with_timeouts(found, urlsplit(uri).query)
        self.root = self._existing(root.rstrip("/"))

    @property
    def scheme(self) -> str:
        """`s3` or `gs`; empty for a local folder."""
        return urlsplit(self.uri).scheme if is_remote(self.uri) else ""

    def file_uri(self, path: str) -> str:
        """The URI of a file for messages, without the query; in a local folder, its path."""
        return f"{self.scheme}://{path}" if self.scheme else path

    def beside(self, path: str, name: str) -> str:
        """The file that a list or table at `path` names: by a URI, or a path from its folder."""
        if is_remote(name) or name.startswith("/") or _FILE.match(name):
            return name
        return self.file_uri(posixpath.join(posixpath.dirname(path), name))

    def join(self, name: str) -> str:
        """The path of a file inside this folder."""
        return posixpath.join(self.root, name)

    def is_file(self) -> bool:
        """Whether the URI names a file, and not a folder.

        Raises:
            DataError: there is neither.
        """
        kind = self._kind(self.root)
        if kind == "none":
            raise DataError(f"{without_query(self.uri)}: no such file or folder")
        # A pipe is a file, too: `<(find . -name "*.jpg")` is a list.
        return kind != "folder"

    def has(self, name: str) -> bool:
        """Whether this folder has a file with this name."""
        return self.has_file(self.join(name))

    def has_file(self, path: str) -> bool:
        """Whether there is a file at a path."""
        return self._kind(path) == "file"

    def modified(self, name: str) -> int:
        """When a file of this folder was last written, in nanoseconds since 1970; 0: no file."""
        with self._name_in_errors():
            if not self.scheme:
                return local_disk.modified(self.join(name))
            return self._fs.get_file_info(self.join(name)).mtime_ns or 0

    def walk(self, enters: Callable[[str], bool] = lambda path: True) -> Iterator[str]:
        """The paths of all files in this folder and below, sorted.

        Args:
            enters: whether the folder at a path is listed, too.
        """
        pending = [self.root]
        while pending:
            folders = []
            for info in self._list(pending.pop()):
                if info.is_file:
                    yield info.path
                elif enters(info.path):
                    folders.append(info.path)
            pending += reversed(folders)

    def names(self) -> set[str]:
        """The names of the files directly in this folder; empty if there is no folder."""
        return {info.base_name for info in self._list(self.root, missing=True) if info.is_file}

    def folders(self) -> set[str]:
        """The names of the folders directly in this folder; empty if there is no folder."""
        return {info.base_name for info in self._list(self.root, missing=True) if not info.is_file}

    def open(self, path: str) -> Any:
        """Open a file for reading; all but local pipes have random access."""
        with self._name_in_errors():
            if not self.scheme:
                return local_disk.opened(path)
            return self._fs.open_input_file(path)

    def read(self, path: str) -> bytes:
        """Read a whole file.

        Raises:
            DataError: it cannot be read.
        """
        with self.open(path) as file, self._name_in_errors():
            return bytes(file.read())

    def write(self, name: str, content: bytes) -> None:
        """Write a file of this folder atomically."""
        if not self.scheme:
            try:
                Path(self.root).mkdir(parents=True, exist_ok=True)
                files.write_atomic(Path(self.join(name)), content)
            except FileExistsError as error:
                raise DataError(f"{self.root}: a file, not a folder") from error
            except OSError as error:
                raise DataError(
                    f"{self.join(name)}: cannot be written: {files.reason(error)}"
                ) from error
            return
        # An object appears when its upload is complete, which is when the stream is closed.
        with self._name_in_errors(), self._fs.open_output_stream(self.join(name)) as stream:
            stream.write(content)

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file of this folder to a local path."""
        with self._name_in_errors(), self.open(self.join(name)) as source, path.open("wb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK)

    def put(self, path: Path, name: str) -> None:
        """Copy a local file into this folder."""
        with self._name_in_errors():
            if not self.scheme:
                self.write(name, path.read_bytes())
                return
            with path.open("rb") as source, self._fs.open_output_stream(self.join(name)) as stream:
                shutil.copyfileobj(source, stream, _CHUNK)

    def _existing(self, root: str) -> str:
        """The root as it is, or percent-decoded if only such an object or folder exists."""
        import pyarrow.fs

        decoded = unquote(root)
        if decoded != root:
            with contextlib.suppress(OSError):
                kinds = [info.type for info in self._fs.get_file_info([root, decoded])]
                missing = [kind == pyarrow.fs.FileType.NotFound for kind in kinds]
                return decoded if missing == [True, False] else root
        return root

    def _kind(self, path: str) -> local_disk.FileKind:
        import pyarrow.fs

        types: dict[Any, local_disk.FileKind] = {
            pyarrow.fs.FileType.File: "file",
            pyarrow.fs.FileType.Directory: "folder",
            pyarrow.fs.FileType.NotFound: "none",
        }
        with self._name_in_errors():
            if not self.scheme:
                return local_disk.kind(path)
            kind = types.get(self._fs.get_file_info(path).type, "other")
        if kind == "none":
            self._check_bucket()
        return kind

    def _check_bucket(self) -> None:
        """Raise if the bucket does not exist: S3 only reports that a file in it is not found."""
        import pyarrow.fs

        bucket = self.root.partition("/")[0]
        # Credentials that may read files may still be refused information about the bucket.
        with contextlib.suppress(OSError):
            if bucket and self._fs.get_file_info(bucket).type == pyarrow.fs.FileType.NotFound:
                raise DataError(f"{without_query(self.uri)}: {_CAUSES['NO_SUCH_BUCKET']}")

    def _list(self, folder: str, *, missing: bool = False) -> list[Any]:
        if not self.scheme:
            with self._name_in_errors():
                return local_disk.entries(folder, missing=missing)
        import pyarrow.fs

        selector = pyarrow.fs.FileSelector(folder, allow_not_found=missing)
        # pyarrow raises this for a file, whatever `allow_not_found` is.
        ignored = (NotADirectoryError,) if missing else ()
        with self._name_in_errors(), contextlib.suppress(*ignored):
            return sorted(self._fs.get_file_info(selector), key=lambda info: info.path)
        return []

    @contextlib.contextmanager
    def _name_in_errors(self) -> Iterator[None]:
        """Turn errors of pyarrow into a `DataError` that names this folder and the cause."""
        try:
            yield
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.filename:
                raise DataError(files.explain(error)) from error
            message = str(error)
            cause = "".join(f"{_CAUSES[code]}: " for code in _CAUSES if code in message)
            raise DataError(f"{without_query(self.uri)}: {cause}{message}") from error


def _with_time_limit(uri: str) -> str:
    """A `gs://` URI with a limit of all attempts of a call: by default Google's is 15 minutes."""
    options = urlsplit(uri)
    if options.scheme not in ("gs", "gcs") or "retry_limit_seconds" in options.query:
        return uri
    return f"{uri}{'&' if options.query else '?'}retry_limit_seconds={_GCS_LIMIT_S}"


def _with_timeouts(store: Any, query: str) -> Any:
    """The same S3 file system with timeouts: by default calls to a silent server take minutes.

    A URI has no options for that, and two options are lost if the file system is built again.
    """
    from pyarrow import fs

    if not isinstance(store, fs.S3FileSystem) or {*parse_qs(query)} & _LOST_OPTIONS:
        return store
    _, (options,) = store.__reduce__()
    timeouts = {"connect_timeout": _CONNECT_TIMEOUT_S, "request_timeout": _READ_TIMEOUT_S}
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS)
    return fs.S3FileSystem(**options | timeouts, retry_strategy=retries)


def is_remote(uri: str) -> bool:
    """Whether this is a URI of object storage, and not a local path."""
    return "://" in uri and not _FILE.match(uri)


def local(uri: str) -> str:
    """The path of a `file:` URI; any other path or URI is returned unchanged.

    Raises:
        DataError: the URI names another machine.
    """
    if not (scheme := _FILE.match(uri)):
        return uri
    rest = uri[scheme.end() :]
    host, slash, path = (rest[2:] if rest.startswith("//") else rest).partition("/")
    if host not in ("", "localhost") or not slash:
        raise DataError(f"{uri}: not a file of this machine; write file:///folder/file")
    return os.fsdecode(unquote_to_bytes(f"/{path}"))


def key(uri: str) -> str:
    """Bucket and path of an object's URI, as pyarrow names it."""
    return uri.partition("://")[2]


def bucket(uri: str) -> str:
    """Scheme and bucket of a URI: `s3://bucket`. Names that begin alike differ: `s3://bucket-2`."""
    return "/".join(without_query(uri).split("/")[:3])


def absolute(uri: str) -> str:
    """The path or URI that names the same folder in a process with another working directory."""
    uri = local(uri)
    return uri if is_remote(uri) else str(Path(uri).absolute())


def without_query(uri: str) -> str:
    """A URI for messages: without the connection options in its query."""
    return uri.partition("?")[0] if is_remote(uri) else uri


def join(uri: str, name: str) -> str:
    """The URI of an entry of a folder; connection options are kept."""
    path = without_query(uri)
    return posixpath.join(path, name) + uri.removeprefix(path)


def last_name(uri: str) -> str:
    """The last part of a path or URI: the entry's own name."""
    return posixpath.basename(without_query(uri).rstrip("/"))


def _quoted(uri: str) -> str:
    """The URI with a percent-encoded path, which pyarrow decodes."""
    scheme, _, rest = uri.partition("://")
    path, question, query = rest.partition("?")
    name, slash, inside = path.partition("/")
    return f"{scheme}://{name}{slash}{quote(inside)}{question}{query}"


def _refuse_keys(uri: str) -> None:
    """Raise a `DataError` if a URI contains a password, or cannot be parsed."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise DataError(f"{without_query(uri)}: not a URI: {error}") from error
    if parts.password is not None:
        raise DataError(
            f"{parts.scheme}://…@{parts.hostname}: a URI must not contain keys, because URIs are"
            f" logged; set {_KEYS}"
        )
