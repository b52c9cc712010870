"""Pictures that lie on two sides of a split: equal files, and near-duplicates.

Near-duplicates are found by a perceptual hash of 64 bits (the `phash` of the library ImageHash, the
signs of a picture's lowest frequencies): the same picture in another size or quality differs in a
few bits, other pictures in many.
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

from pintag import dataset, images
from pintag.dataset import DataSet, Example, Progress

# Bits. Saved again at a quality of 30, or in half the size, photographs differ in up to 4; of 1,519
# photographs no two differ in less than 8.
NEAR = 6
# What a picture is hashed at; ImageHash makes it smaller still.
_SIZE = 128
_CHUNK = 256

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Leak:
    """Two files that show one picture, in two splits."""

    first: tuple[str, Example]
    """The split that comes earlier of training, validation and test, and the file there."""
    second: tuple[str, Example]
    distance: int
    """Bits in which their hashes differ."""

    @property
    def is_equal(self) -> bool:
        """Whether the files have the same bytes."""
        return self.first[1].digest == self.second[1].digest


def find(
    data: DataSet, near: int = NEAR, progress: Progress | None = None
) -> tuple[tuple[Leak, ...], npt.NDArray[np.intp]]:
    """What lies on two sides of a split.

    Args:
        near: bits in which two hashes differ at most.
        progress: called with the pictures that are hashed, and all pictures.

    Returns:
        The leaks, and for all examples, split by split, the number of their group: pictures of one
        group are to stay together.
    """
    placed = [(split, each) for split, examples in data.splits.items() for each in examples]
    pairs = list(_pairs(_hashes([each for _, each in placed], progress), near))
    found = tuple(
        Leak(placed[left], placed[right], distance)
        for left, right, distance in pairs
        if placed[left][0] != placed[right][0]
    )
    return found, _groups(len(placed), pairs)


def moved(data: DataSet, found: Sequence[Leak]) -> DataSet:
    """The data set with each leaking picture in the earliest split that it lies in.

    So what is trained on grows, and what is tested on is new to the model.
    """
    order = list(data.splits)
    home: dict[Example, str] = {}
    # Chains, such as test to validation to training, take as many rounds as there are splits.
    for _ in order:
        for leak in found:
            sides = [home.get(each, split) for split, each in (leak.first, leak.second)]
            earliest = min(sides, key=order.index)
            home[leak.first[1]] = home[leak.second[1]] = earliest
    gathered: dict[str, list[Example]] = defaultdict(list)
    for split, examples in data.splits.items():
        for each in examples:
            gathered[home.get(each, split)].append(each)
    splits = {
        split: tuple(sorted(gathered[split], key=lambda each: each.path)) for split in data.splits
    }
    return replace(data, splits=splits)


def _hashes(examples: Sequence[Example], progress: Progress | None) -> Hashes:
    import imagehash

    def of(example: Example) -> npt.NDArray[np.bool_]:
        picture = Image.fromarray(images.read(example.path, _SIZE))
        found: npt.NDArray[np.bool_] = imagehash.phash(picture).hash.ravel()
        return found

    rows = []
    with ThreadPoolExecutor(dataset.threads()) as pool:
        for row in pool.map(of, examples):
            rows.append(row)
            if progress:
                progress(len(rows), len(examples))
    return np.packbits(np.array(rows), axis=1).view(np.uint64).ravel()


def _pairs(hashes: Hashes, near: int) -> Iterator[tuple[int, int, int]]:
    """Each two pictures that are near: their places, the smaller first, and their distance."""
    for start in range(0, len(hashes), _CHUNK):
        distances = np.bitwise_count(hashes[start : start + _CHUNK, None] ^ hashes[None])
        for row, right in zip(*np.nonzero(distances <= near), strict=True):
            if (left := start + int(row)) < right:
                yield left, int(right), int(distances[row, right])


def _groups(count: int, pairs: Sequence[tuple[int, int, int]]) -> npt.NDArray[np.intp]:
    left, right = (np.array([pair[side] for pair in pairs], np.intp) for side in (0, 1))
    graph = coo_array((np.ones(len(pairs), bool), (left, right)), (count, count))
    groups: npt.NDArray[np.intp] = connected_components(graph, directed=False)[1].astype(np.intp)
    return groups
