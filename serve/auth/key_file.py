"""The file of API keys in a running server, which reads it again when it changes."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from pintag.core.errors import ConfigError
from pintag.serve.auth import api_keys
from pintag.serve.auth.api_keys import ApiKeyList, KeyHolder
from pintag.serve.observability.logs import log

_CHECK_INTERVAL_S = 1.0


class ApiKeyFile:
    """The keys of a file.

    If the changed file cannot be read, is empty, cut off or invalid, the previous keys stay valid
    and an error is logged.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Read the file.

        Raises:
            ConfigError: it cannot be read, is empty or cut off, or is invalid.
        """
        self._path, self._clock = path, clock
        self._signature = _signature(path)
        self._last_error = ""
        self._use(api_keys.load(path))

    def find(self, token: str) -> KeyHolder | None:
        """The holder of a key, or None."""
        return self._holders.get(api_keys.digest(token))

    def watch(self) -> None:
        """Check the file every second from now on, in a thread that ends with this object.

        Reading a thousand keys takes longer than an event loop may be held up.
        """
        reference = weakref.ref(self)
        threading.Thread(target=_watch, args=(reference,), name="pintag-keys", daemon=True).start()

    def reload_if_changed(self) -> None:
        """Read the file if it is not the one that was read last."""
        signature = _signature(self._path)
        if signature is not None and signature == self._signature:
            return
        try:
            content = api_keys.read(self._path)
            # Content that was read and is wrong need not be read again before it changes.
            self._signature = signature
            keys = api_keys.parse(content, str(self._path))
        except OSError as error:
            self._report(f"{self._path}: cannot be read: {error.strerror}")
        except ConfigError as error:
            self._report(str(error))
        else:
            self._last_error = ""
            self._use(keys)
            log.warning("%s has changed; reloaded %d API keys", self._path, len(keys.keys))

    def _use(self, keys: ApiKeyList) -> None:
        now = self._clock()
        self._holders = {key.sha256: key.holder(now) for key in keys.keys}

    def _report(self, error: str) -> None:
        if error != self._last_error:
            log.error("the API keys were not reloaded, the previous ones stay valid: %s", error)
        self._last_error = error


def _watch(reference: weakref.ref[ApiKeyFile]) -> None:
    while (file := reference()) is not None:
        try:
            file.reload_if_changed()
        except Exception:
            log.exception("the API keys were not reloaded, the previous ones stay valid")
        del file
        time.sleep(_CHECK_INTERVAL_S)


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Inode, modification time and size of a file, or None if it is missing.

    The inode is needed because Kubernetes updates a Secret by replacing a symbolic link.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
