"""Write a synthetic data set, so that the demo and the tests need no photographs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np

from pintag.core.errors import DataError
from pintag.core.types import Progress
from pintag.data.figures import FIGURES, draw
from pintag.data.layout import NOTICE

COUNTS: Mapping[str, int] = MappingProxyType({"train": 60, "validation": 15, "test": 15})
COMMENT = "synthetic, drawn by pintag data sample"
_NOTICE = """\
This data set is synthetic. Every image in it was drawn by a program, `pintag data sample`, with
the seed {seed}. None is a photograph, and a model trained on them cannot tag photographs.
"""


def write(
    root: Path,
    *,
    seed: int = 0,
    counts: Mapping[str, int] = COUNTS,
    size: int = 96,
    progress: Progress | None = None,
) -> int:
    """Write `<split>/<label>/<label>-0001.jpg` and so on below `root`, atomically.

    Args:
        seed: equal seeds give equal bytes. Each image depends on the seed and its own name only, so
            that a larger count adds images and changes none.
        counts: images per label, for each split.
        size: width and height in pixels.
        progress: called with the number of images drawn so far, and the number of all images.

    Returns:
        The number of images.

    Raises:
        DataError: `root` is not empty or cannot be written.
    """
    try:
        target = root.resolve()
        if not _is_free(target):
            raise DataError(f"{root}: is not an empty folder; remove it or name another folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(
            prefix=".pintag-sample-", dir=target.parent, ignore_cleanup_errors=True
        ) as temporary:
            # A subfolder, because other users may not read the temporary folder itself.
            unfinished = Path(temporary) / "data"
            count = _fill(unfinished, seed, counts, size, progress)
            _rename(unfinished, target)
        return count
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{root}: cannot be written: {reason}; name another folder") from error


def _is_free(target: Path) -> bool:
    """Whether there is nothing at this path, or an empty folder."""
    return not target.exists() or (target.is_dir() and not any(target.iterdir()))


def _rename(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`, or move its entries into `target` if it exists."""
    if not target.exists():
        folder.rename(target)
        return
    # `target` may be the working directory of a shell, so it is not replaced. The notice sorts
    # first: there are never images without it.
    for entry in sorted(folder.iterdir()):
        entry.rename(target / entry.name)


def _fill(
    root: Path, seed: int, counts: Mapping[str, int], size: int, progress: Progress | None
) -> int:
    names = [(s, label, i) for s in counts for label in FIGURES for i in range(1, counts[s] + 1)]
    root.mkdir()
    (root / NOTICE).write_text(_NOTICE.format(seed=seed), encoding="utf-8")
    for done, (split, label, index) in enumerate(names, start=1):
        path = root / split / label / f"{label}-{index:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = draw(label, _generator(seed, split, label, index), size)
        image.save(path, quality=90, comment=COMMENT)
        if progress:
            progress(done, len(names))
    return len(names)


def _generator(seed: int, split: str, label: str, index: int) -> np.random.Generator:
    """The random generator of one image; Python's own `hash` differs between processes."""
    digest = hashlib.sha256(f"{seed}/{split}/{label}/{index}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))
