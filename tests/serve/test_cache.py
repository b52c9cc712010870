"""The cache of answers: equal bytes, bounded memory, and off."""

from __future__ import annotations

import numpy as np

from serve.cache import AnswerCache

ROW = np.arange(8, dtype=np.float32)


def test_equal_bytes_are_known() -> None:
    cache = AnswerCache(10_000)
    cache.put(cache.key(b"picture"), ROW)
    found = cache.get(cache.key(bytes(bytearray(b"picture"))))
    assert found is not None
    np.testing.assert_array_equal(found, ROW)
    assert cache.get(cache.key(b"picturf")) is None


def test_what_was_asked_for_longest_ago_is_forgotten_first() -> None:
    cache = AnswerCache(10_000)
    keys = [cache.key(b"%d" % number) for number in range(1000)]
    for key in keys:
        cache.put(key, ROW)
        # Asked for again and again, the first one stays.
        assert cache.get(keys[0]) is not None
    assert 0 < cache.size <= 10_000
    known = [key for key in keys if cache.get(key) is not None]
    assert known == [keys[0], *keys[1 - len(known) :]]


def test_a_row_does_not_keep_the_batch_it_came_in() -> None:
    cache = AnswerCache(10_000)
    batch = np.zeros((64, 8), np.float32)
    cache.put(cache.key(b"picture"), batch[0])
    found = cache.get(cache.key(b"picture"))
    assert found is not None
    assert found.base is None


def test_without_memory_nothing_is_kept_or_even_digested() -> None:
    cache = AnswerCache(0)
    key = cache.key(b"picture")
    assert key == b""
    cache.put(key, ROW)
    assert cache.get(key) is None
    assert (cache.is_on, cache.size) == (False, 0)


def test_a_row_larger_than_the_cache_is_not_kept() -> None:
    cache = AnswerCache(500)
    key = cache.key(b"picture")
    cache.put(key, np.zeros(1000, np.float32))
    assert cache.get(key) is None
