"""The answer cache: it is keyed by digest, its memory is limited, and it can be off."""

from __future__ import annotations

import numpy as np

from pintag.serve.inference.answer_cache import AnswerCache

ROW = np.arange(8, dtype=np.float32)


def test_a_stored_row_is_found_only_by_an_equal_digest() -> None:
    cache = AnswerCache(10_000)
    cache.put(b"digest", ROW)
    row = cache.get(bytes(bytearray(b"digest")))
    assert row is not None
    np.testing.assert_array_equal(row, ROW)
    assert cache.get(b"digesu") is None


def test_the_least_recently_used_row_is_evicted_first() -> None:
    cache = AnswerCache(10_000)
    keys = [b"%d" % number for number in range(1000)]
    for key in keys:
        cache.put(key, ROW)
        # The first row stays, because it is used again and again.
        assert cache.get(keys[0]) is not None
    assert 0 < cache.size <= 10_000
    cached = [key for key in keys if cache.get(key) is not None]
    assert cached == [keys[0], *keys[1 - len(cached) :]]


def test_a_row_does_not_keep_its_batch_in_memory() -> None:
    cache = AnswerCache(10_000)
    batch = np.zeros((64, 8), np.float32)
    cache.put(b"digest", batch[0])
    row = cache.get(b"digest")
    assert row is not None
    assert row.base is None


def test_without_memory_nothing_is_stored() -> None:
    cache = AnswerCache(0)
    cache.put(b"digest", ROW)
    assert cache.get(b"digest") is None
    assert (cache.is_on, cache.size) == (False, 0)


def test_a_row_larger_than_the_cache_is_not_stored() -> None:
    cache = AnswerCache(500)
    cache.put(b"digest", np.zeros(1000, np.float32))
    assert cache.get(b"digest") is None
