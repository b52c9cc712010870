"""A cache of confidences by image digest: platforms upload the same image again and again.

The cache belongs to one replica, and so to one version of one bundle. A new version starts with an
empty cache.
"""

from __future__ import annotations

from cachetools import LRUCache

from pintag.core.types import Confidences

# Bytes that an entry takes beside its confidences: the key, the array object, the list links.
_OVERHEAD = 400


class AnswerCache:
    """The most recently used confidences, up to a number of bytes; with 0 it is off."""

    def __init__(self, max_bytes: int) -> None:
        self._rows: LRUCache[bytes, Confidences] = LRUCache(
            max_bytes, getsizeof=lambda row: row.nbytes + _OVERHEAD
        )

    @property
    def size(self) -> int:
        """The approximate number of bytes in use."""
        return int(self._rows.currsize)

    @property
    def is_on(self) -> bool:
        """Whether the cache may hold anything."""
        return self._rows.maxsize > 0

    def get(self, digest: bytes) -> Confidences | None:
        """The confidences `float32[C]` of the image with this digest, or None."""
        return self._rows.get(digest)

    def put(self, digest: bytes, row: Confidences) -> None:
        """Store the confidences `float32[C]` of an image; evict the least recently used."""
        if row.nbytes + _OVERHEAD <= self._rows.maxsize:
            # A copy: a row of a batch is a view, which would keep the whole batch in memory.
            self._rows[digest] = row.copy()
