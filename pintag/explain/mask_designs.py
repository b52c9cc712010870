"""Which segments to hide together: randomised two-level fractional factorial designs.

A regular design of 2^9 masks keeps each segment in half of the masks, as plain LIME's random masks
do on average. Every combination of any three segments is equally frequent; so is every combination
of any five for up to 17 segments, and nearly so for a few more. Therefore the interaction of two
superpixels does not bias the weight of a third, which is most of the noise in plain LIME (Box &
Hunter, "The 2^(k-p) fractional factorial designs", Technometrics 1961).

Each segment has a generator, an integer of 9 bits: run r keeps the segment if r and the generator
share an even number of bits. All generators have one bit in common, the fold, so the design
contains the complement of each mask. The 512 runs are divided into blocks of 64, which are smaller
designs themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pintag.explain.perturbation import Masks

BLOCK = 64
"""Number of masks in a round."""
MOST_SEGMENTS = 256
_RUNS = 512
_FOLD = BLOCK // 2


def rounds(segments: int, random: np.random.Generator) -> Iterator[Masks]:
    """An endless iterator of masks `bool[64,K]`: eight rounds are a design, then the next follows.

    Each design assigns the generators to segments, and inverts segments, at random.

    Raises:
        ValueError: there are more than `MOST_SEGMENTS` segments.
    """
    if segments > MOST_SEGMENTS:
        raise ValueError(f"{segments} segments: a design supports at most {MOST_SEGMENTS}")
    while True:
        assigned = random.permutation(_generators(segments))
        inverted = random.integers(0, 2, segments, dtype=np.uint8)
        for block in random.permutation(_RUNS // BLOCK):
            # Each mask is followed by its complement, and the order of the pairs is random. So a
            # round that is cut short is as balanced as possible.
            pairs = random.permutation(_FOLD)
            runs = block * BLOCK + np.stack([pairs, pairs ^ _FOLD], axis=-1).ravel()
            odd = np.bitwise_count(runs[:, None] & assigned) & 1
            yield (odd ^ inverted).astype(bool)


@lru_cache(maxsize=MOST_SEGMENTS)
def _generators(count: int) -> npt.NDArray[np.intp]:
    """Generators `intp[K]`, chosen greedily so that few sets of four have the XOR zero.

    Such a set is a word of the design's defining relation: the interaction of any three of its
    segments is confounded with the fourth. Within a block, generators with equal low bits are
    confounded, so low bits are used evenly. Among equal choices a generator that is not the XOR of
    earlier ones is preferred: each dependent one halves the number of different masks.
    """
    every = np.arange(_RUNS)
    free = (every & _FOLD).astype(bool)
    low_bits = every % BLOCK
    used = np.zeros(BLOCK, np.intp)
    # How many pairs, and how many triples, of chosen generators have each XOR.
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
