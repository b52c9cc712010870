"""Answers that are known: uploads repeat, and equal bytes have equal confidences.

It belongs to a replica, and so to one version of one bundle: with that, it begins anew.
"""

from __future__ import annotations

import hashlib

from cachetools import LRUCache

from pintag.engine import Confidences

# What an entry takes beside the numbers of its row: key, array and the list it is linked in.
_OVERHEAD = 400


class AnswerCache:
    """The rows asked for last, up to a number of bytes; with none it keeps nothing."""

    def __init__(self, most_bytes: int) -> None:
        self._rows: LRUCache[bytes, Confidences] = LRUCache(
            most_bytes, getsizeof=lambda row: row.nbytes + _OVERHEAD
        )

    @property
    def size(self) -> int:
        """The bytes that it takes of memory, about."""
        return int(self._rows.currsize)

    @property
    def is_on(self) -> bool:
        """Whether it may keep anything."""
        return self._rows.maxsize > 0

    def key(self, data: bytes) -> bytes:
        """The SHA-256 of an upload; empty where nothing is kept."""
        return hashlib.sha256(data).digest() if self.is_on else b""

    def get(self, key: bytes) -> Confidences | None:
        """The `float32[C]` of an upload, if it is known."""
        return self._rows.get(key) if key else None

    def put(self, key: bytes, row: Confidences) -> None:
        """Keep a row, and forget those asked for longest ago."""
        if key and row.nbytes + _OVERHEAD <= self._rows.maxsize:
            # A copy: a row of a batch would keep the whole batch.
            self._rows[key] = row.copy()
