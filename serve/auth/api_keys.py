"""API keys: a YAML file holds their hashes and the limits of their clients.

keys:
  - name: uploads
    id: 5f2a91c07d3e4b68  # of the client: it stays when the key is replaced; `pintag key` sets it
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    per_second: 200   # images; no limit by default
    burst: 400        # images at once; twice per_second by default
    per_day: 5000000
"""

from __future__ import annotations

import hashlib
import secrets
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

from pintag.core import config, strict_yaml
from pintag.core.config import Strict
from pintag.core.errors import ConfigError
from pintag.core.wrong_values import matching
from pintag.serve.auth.limits import RateLimits

PREFIX = "pintag_"
# `pintag key` begins a file with the first line and ends it with the second: a file that has only
# the first one was cut off, perhaps between two keys, where the rest is valid YAML.
_FIRST_LINE = (
    "# Written by `pintag key`. The last line is three dots; without it the file is cut off."
)
_LAST_LINE = "..."

# A hundred thousand keys.
_MAX_FILE_BYTES = 2**24

ClientName = Annotated[
    str,
    matching(
        "[A-Za-z0-9._-]{1,64}",
        "must be 1 to 64 letters, digits, dots, underscores and hyphens, such as shop-2",
    ),
]
Digest = Annotated[str, matching("[0-9a-f]{64}", "must be a SHA-256, 64 hexadecimal digits")]


@dataclass(frozen=True)
class KeyHolder:
    """The client that a valid key belongs to."""

    name: str
    """Its name in metrics, logs and messages."""
    id: str
    """What its counts are stored under: the same for all keys that it ever had."""
    limits: RateLimits
    since: float = 0.0
    """The Unix time at which these limits were read from the file."""


class ApiKey(RateLimits):
    """One client's key and limits."""

    name: ClientName
    """The client's name in metrics and logs."""
    id: ClientName | None = None
    """Distinguishes the client from an earlier one of the same name, whose key was revoked. Without
    it a new client of the same name continues with the counts of the old one."""
    sha256: Digest = Field(repr=False)
    """SHA-256 of the key, in hexadecimal. A key is 256 random bits, so a slow hash adds nothing."""

    def holder(self, since: float) -> KeyHolder:
        """The holder of this key; see `KeyHolder.since`."""
        limits = RateLimits(per_second=self.per_second, burst=self.burst, per_day=self.per_day)
        # Neither a name nor an id contains a colon.
        identity = self.name if self.id is None else f"{self.name}:{self.id}"
        return KeyHolder(self.name, identity, limits, since)


class ApiKeyList(Strict):
    """The contents of the file of keys."""

    keys: tuple[ApiKey, ...]

    @model_validator(mode="after")
    def _no_duplicates(self) -> ApiKeyList:
        for field in ("name", "sha256"):
            counts = Counter(getattr(key, field) for key in self.keys)
            duplicates = sorted(value for value, count in counts.items() if count > 1)
            if duplicates:
                raise ValueError(f"{field} {duplicates[0]!r} is used more than once")
        return self


def load(path: Path) -> ApiKeyList:
    """Read a file of keys.

    Raises:
        ConfigError: it cannot be read, is empty or cut off, or is invalid.
    """
    try:
        return parse(read(path), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def read(path: Path) -> bytes:
    """The content of a file of keys. Every replica reads it again and again, so it is not a pipe.

    Raises:
        OSError: it cannot be read.
        ConfigError: it is not a regular file, or too large.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{path}: is not a regular file, such as `pintag key` writes")
    if status.st_size > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: has more than {_MAX_FILE_BYTES:,} bytes; is it a file of keys?")
    return path.read_bytes()


def parse(content: bytes, source: str) -> ApiKeyList:
    """The keys in the content of a file.

    Raises:
        ConfigError: it is empty or cut off, or is invalid; the message starts with `source`.
    """
    try:
        text = content.decode()
        # Not libyaml's loader: it is faster, but would not let a server's event loop run before it
        # has parsed the whole file.
        values = strict_yaml.parse(text)
    except ValueError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from error
    if values is None or (isinstance(values, dict) and values.get("keys", ...) is None):
        raise ConfigError(
            f"{source}: there are no keys: the file is empty or cut off. Restore it; a file with"
            " 'keys: []' revokes all keys"
        )
    if text.startswith(_FIRST_LINE) and text.rstrip().splitlines()[-1] != _LAST_LINE:
        raise ConfigError(f"{source}: the file is cut off: its last line is missing. Restore it")
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected keys and values, found {type(values).__name__}")
    return config.parse(ApiKeyList, values, source)


def dump(entries: list[dict[str, Any]]) -> str:
    """The content of a file with these keys, which `parse` knows to be complete."""
    text: str = yaml.safe_dump({"keys": entries}, sort_keys=False)
    return f"{_FIRST_LINE}\n{text}{_LAST_LINE}\n"


def create() -> str:
    """A new key: 256 random bits as text, with a prefix."""
    return PREFIX + secrets.token_urlsafe(32)


def create_id() -> str:
    """The id of a new client."""
    return secrets.token_hex(8)


def digest(token: str) -> str:
    """SHA-256 of a key, in hexadecimal.

    It is safe to look a key up by its digest in a dict, whose time depends on the digest: a key is
    256 random bits, so nobody can choose tokens whose digests approach one that is in the file.
    """
    return hashlib.sha256(token.encode()).hexdigest()
