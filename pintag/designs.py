"""Which segments to hide together: randomised two-level fractional factorial designs.

A regular design of 2^9 masks keeps each segment in half of them, as plain LIME's random masks do on
average, and makes every combination of any three segments equally frequent; of any five for up to
17 segments, and nearly so for some more. What two superpixels do only together then does not leak
into the weight of one, which is most of the noise in plain LIME (Box & Hunter, "The 2^(k-p)
fractional factorial designs", Technometrics 1961).

A generator is a column of bits: in run r a segment is kept when the bits that r and the generator
share are even in number. Generators all have one bit in common, the fold, so that with each mask
the design has its complement. Its 512 runs come in blocks of 64, each a design of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pintag.perturbation import Masks

BLOCK = 64
"""Masks in a round."""
MOST_SEGMENTS = 256
_RUNS = 512
_FOLD = BLOCK // 2


def rounds(segments: int, random: np.random.Generator) -> Iterator[Masks]:
    """Masks `bool[64,K]` without end: eight rounds make a design, then follows another.

    The generators are dealt out to the segments, and what a bit means is chosen, at random.

    Raises:
        ValueError: there are more than `MOST_SEGMENTS`.
    """
    if segments > MOST_SEGMENTS:
        raise ValueError(f"{segments} segments; a design has at most {MOST_SEGMENTS}")
    while True:
        dealt = random.permutation(_generators(segments))
        flipped = random.integers(0, 2, segments, dtype=np.uint8)
        for block in random.permutation(_RUNS // BLOCK):
            # Each mask is followed by its complement, and pairs come in any order: a round that is
            # cut short is as balanced as so few masks can be.
            pairs = random.permutation(_FOLD)
            runs = block * BLOCK + np.stack([pairs, pairs ^ _FOLD], axis=-1).ravel()
            odd = np.bitwise_count(runs[:, None] & dealt) & 1
            yield (odd ^ flipped).astype(bool)


@lru_cache(maxsize=MOST_SEGMENTS)
def _generators(count: int) -> npt.NDArray[np.intp]:
    """Generators, chosen one by one so that as few sets of four as possible add up to nothing.

    Such a set is a word of the design's defining relation: any three of its segments together are
    mistaken for the fourth. Within a block two generators with the same low bits cannot be told
    apart, so that those are used evenly. Where that leaves a choice the generator is no sum of
    those before, until nine are not: each such sum halves the number of different masks.
    """
    every = np.arange(_RUNS)
    free = (every & _FOLD).astype(bool)
    low_bits = every % BLOCK
    used = np.zeros(BLOCK, np.intp)
    # How often each sum comes of two, and of three, of those chosen.
    pairs, triples = np.zeros(_RUNS, np.intp), np.zeros(_RUNS, np.intp)
    spanned = every == 0
    chosen: list[int] = []
    for _ in range(count):
        cost = used[low_bits] * _RUNS**3 + 2 * triples + spanned
        cost[~free] = np.iinfo(np.intp).max
        generator = int(cost.argmin())
        triples += pairs[every ^ generator]
        pairs[np.array(chosen, np.intp) ^ generator] += 1
        spanned |= spanned[every ^ generator]
        chosen.append(generator)
        free[generator] = False
        used[low_bits[generator]] += 1
    return np.array(chosen, np.intp)
