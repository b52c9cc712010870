"""Find leaks: images that are in two splits, as equal files or as near-duplicates.

Near-duplicates are found by a perceptual hash of 64 bits, `phash` of the library ImageHash (the
signs of an image's lowest frequencies). The hashes of the same image in another size or quality
differ in a few bits, those of different images in many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pintag.core import machine
from pintag.core.types import Progress
from pintag.data.dataset import DataSet, Example
from pintag.images import decoding

# Maximum number of bits in which the hashes of near-duplicates differ. Photographs that are saved
# again with JPEG quality 30 or in half the size differ in up to 4 bits; of 1,519 photographs no two
# differ in fewer than 8.
MAX_DISTANCE = 6
# The side of the decoded image; ImageHash makes it smaller.
_SIZE = 128
_CHUNK = 256

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Leak:
    """The same image in two splits."""

    first: tuple[str, Example]
    """The earlier split, in the order training, validation, test, and its file."""
    second: tuple[str, Example]
    """The later split and its file."""
    distance: int
    """The number of bits in which the hashes differ."""

    @property
    def is_equal(self) -> bool:
        """Whether the files have the same bytes."""
        return self.first[1].digest == self.second[1].digest


def find(
    data: DataSet, max_distance: int = MAX_DISTANCE, progress: Progress | None = None
) -> tuple[tuple[Leak, ...], npt.NDArray[np.intp]]:
    """Find the leaks of a data set, and its groups of duplicates.

    Args:
        max_distance: the hashes of near-duplicates differ in at most this many bits.
        progress: called with the number of images hashed so far, and the number of all images.

    Returns:
        The leaks, and a group number `intp[N]` for every example, split by split. Images of one
        group are the same image and belong in the same fold of a cross-validation.
    """
    examples = [(split, example) for split, group in data.splits.items() for example in group]
    hashes = _hashes([example for _, example in examples], progress)
    pairs = list(_near_pairs(hashes, max_distance))
    leaks = tuple(
        Leak(examples[left], examples[right], distance)
        for left, right, distance in pairs
        if examples[left][0] != examples[right][0]
    )
    return leaks, _groups(len(examples), pairs)


def move(data: DataSet, leaks: Sequence[Leak]) -> DataSet:
    """Move each leaking image to the earliest split that it is in.

    The training split grows, and all test images are new to the model.
    """
    order = list(data.splits)
    split_of: dict[Example, str] = {}
    # Chains, such as test to validation to training, take as many rounds as there are splits.
    for _ in order:
        for leak in leaks:
            both = (leak.first, leak.second)
            splits_now = [split_of.get(example, split) for split, example in both]
            earliest = min(splits_now, key=order.index)
            split_of[leak.first[1]] = split_of[leak.second[1]] = earliest
    gathered: dict[str, list[Example]] = defaultdict(list)
    for split, examples in data.splits.items():
        for example in examples:
            gathered[split_of.get(example, split)].append(example)
    splits = {
        split: tuple(sorted(gathered[split], key=lambda example: example.path))
        for split in data.splits
    }
    return replace(data, splits=splits)


def _hashes(examples: Sequence[Example], progress: Progress | None) -> Hashes:
    import imagehash

    def bits(example: Example) -> npt.NDArray[np.bool_]:
        image = Image.fromarray(decoding.read(example.path, _SIZE))
        hashed: npt.NDArray[np.bool_] = imagehash.phash(image).hash.ravel()
        return hashed

    rows = []
    with ThreadPoolExecutor(machine.allowed_cpus()) as pool:
        for row in pool.map(bits, examples):
            rows.append(row)
            if progress:
                progress(len(rows), len(examples))
    return np.packbits(np.array(rows), axis=1).view(np.uint64).ravel()


def _near_pairs(hashes: Hashes, max_distance: int) -> Iterator[tuple[int, int, int]]:
    """All pairs of near-duplicates: two indices, the smaller first, and their distance in bits."""
    for start in range(0, len(hashes), _CHUNK):
        distances = np.bitwise_count(hashes[start : start + _CHUNK, None] ^ hashes[None])
        for row, right in zip(*np.nonzero(distances <= max_distance), strict=True):
            if (left := start + int(row)) < right:
                yield left, int(right), int(distances[row, right])


def _groups(count: int, pairs: Sequence[tuple[int, int, int]]) -> npt.NDArray[np.intp]:
    left, right = (np.array([pair[side] for pair in pairs], np.intp) for side in (0, 1))
    graph = coo_array((np.ones(len(pairs), bool), (left, right)), (count, count))
    groups: npt.NDArray[np.intp] = connected_components(graph, directed=False)[1].astype(np.intp)
    return groups
