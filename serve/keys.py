"""Who may ask: API keys, by their hashes in a file that is read again when it changes.

keys:
  - name: uploads
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    per_second: 200   # requests; without it, as many as the server can do
    burst: 400        # so many at once, twice per_second by default
    per_day: 5000000
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from pintag import config
from pintag.config import Strict
from pintag.errors import ConfigError
from serve.problems import log

PREFIX = "pintag_"
# Seconds between two looks at the file.
_LOOK = 1.0

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Limits(Strict):
    """How many requests there may be; no limit where nothing is said."""

    per_second: float | None = Field(default=None, gt=0)
    burst: int | None = Field(default=None, ge=1)
    """At once, after a pause; by default what two seconds allow."""
    per_day: int | None = Field(default=None, ge=1)
    """From midnight to midnight, UTC."""

    @model_validator(mode="after")
    def _burst_of_something(self) -> Limits:
        if self.burst is not None and self.per_second is None:
            raise ValueError("burst without per_second limits nothing")
        return self

    @property
    def capacity(self) -> int:
        """Requests at once, where there is a limit on them."""
        return self.burst or max(1, round(2 * (self.per_second or 0)))

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.per_second is not None or self.per_day is not None


class Key(Limits):
    """One client."""

    name: Name
    """In metrics and logs."""
    sha256: Digest
    """Of the key, in hexadecimal: keys are 256 random bits, so that no slower hash is needed."""

    @property
    def limits(self) -> Limits:
        """Its limits alone."""
        return Limits(per_second=self.per_second, burst=self.burst, per_day=self.per_day)


class Keys(Strict):
    """What the file holds."""

    keys: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _told_apart(self) -> Keys:
        for field in ("name", "sha256"):
            values = [getattr(key, field) for key in self.keys]
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{field} {twice[0]!r} is there more than once")
        return self

    def find(self, token: str) -> Key | None:
        """Whose key it is.

        Every entry is compared, in constant time: how long it takes says nothing of any of them.
        """
        asked = digest(token)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, asked):
                found = key
        return found


class KeyFile:
    """The keys of a file, as it is now.

    A file that cannot be read any more leaves those that were known, and says so in the log.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Reads it.

        Raises:
            ConfigError: it cannot be read, or is wrong.
        """
        self._path, self._clock = path, clock
        self._state = _state(path)
        self._keys = config.load(Keys, path)
        self._looked = clock()

    def find(self, token: str) -> Key | None:
        """Whose key it is; see `Keys.find`."""
        self._look()
        return self._keys.find(token)

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        state = _state(self._path)
        if state == self._state:
            return
        self._state = state
        try:
            self._keys = config.load(Keys, self._path)
        except ConfigError as error:
            log.error("the keys stay as they were: %s", error)
        else:
            log.warning("%s was read anew: %d keys", self._path, len(self._keys.keys))


def create() -> str:
    """A new key: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(token.encode()).hexdigest()


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; a Secret of Kubernetes is replaced as a link."""
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat is this
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
