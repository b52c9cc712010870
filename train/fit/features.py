"""Cached arrays on disk: features of a frozen backbone, or decoded pixels.

Rows are computed once, in blocks that are divided among the workers. Each block is a file that is
written atomically, so an interrupted computation continues with the missing blocks, and later runs
reuse them. The folder's name is a digest of everything that determines the rows.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pintag.core import files, types
from pintag.core.errors import TrainingError, WeightsError
from pintag.data import dataset
from pintag.data.dataset import Example
from pintag.models import backbones
from pintag.train.config import TrainConfig
from pintag.train.fit import views

if TYPE_CHECKING:
    import keras

BLOCK = 256
_BATCH = 32
# Part of every key: increase it when decoding or the layout on disk changes.
_FORMAT = 2

Transform = Callable[[types.Pixels, Sequence[str]], npt.NDArray[Any]]
"""Maps `uint8[n,S,S,3]` and the digests of these images to `[n, ...]`."""


def key(fingerprint: str, config: TrainConfig, digest: str, dtype: str, count: int = 0) -> str:
    """Return the name of the folder with a data set's features.

    Args:
        digest: identifies the backbone's weights; see `weights_digest`.
        dtype: the backbone's compute type.
        count: random views of each image; 0: features of the images themselves.
    """
    backbone = config.backbone
    parts = ("features", fingerprint, digest, backbone.name, backbone.alpha, config.input_size)
    return _key(*parts, dtype, *((views.VERSION, config.seed, count) if count else ()))


def pixels_key(fingerprint: str, input_size: int) -> str:
    """Return the name of the folder with a data set's decoded pixels."""
    return _key("decoding", fingerprint, input_size)


def _key(*parts: object) -> str:
    text = "\n".join(map(str, (_FORMAT, *parts)))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def weights_digest(config: TrainConfig) -> str:
    """Return an identifier of the backbone's weights; a file's SHA-256 when they are in a file.

    Raises:
        WeightsError: the file cannot be read.
    """
    weights = config.backbone.weights
    if weights == backbones.IMAGENET:
        return weights
    if weights == backbones.NONE:
        return f"random-{config.seed}"
    try:
        with Path(weights).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"no weights file {weights!r}: {error.strerror}") from error


def extractor(backbone: keras.Model) -> Transform:
    """Return a transform to features `float32[n,D]` of a frozen backbone, for any batch size."""
    import tensorflow as tf

    shape = (None, *backbone.input_shape[1:])
    function = tf.function(
        lambda pixels: tf.cast(backbone(pixels, training=False), tf.float32),
        input_signature=[tf.TensorSpec(shape, tf.uint8)],
    )
    return lambda pixels, _: function(pixels).numpy()


def transform_views(transform: Transform, seed: int, count: int) -> Transform:
    """Return a transform to `[n, 1+V, ...]`: the rows of the mirror image and V random views."""

    def of_each_view(pixels: types.Pixels, digests: Sequence[str]) -> npt.NDArray[Any]:
        numbers = views.stored_numbers(count)
        rows = [
            transform(views.views(pixels, digests, seed, number), digests) for number in numbers
        ]
        return np.stack(rows, axis=1)

    return of_each_view


def identity(pixels: types.Pixels, digests: Sequence[str]) -> types.Pixels:
    """Return the pixels unchanged."""
    return pixels


def compute(
    folder: Path,
    examples: Sequence[Example],
    input_size: int,
    transform: Transform,
    *,
    rank: int = 0,
    world: int = 1,
    progress: types.Progress | None = None,
) -> None:
    """Compute the missing blocks of this worker's share and write them to `folder`.

    Args:
        progress: called after each block with the number of rows on disk and the total number.

    Raises:
        ImageError: an image cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(examples), BLOCK)
    for number, start in enumerate(starts):
        path = block_path(folder, number)
        if number % world != rank or path.exists():
            continue
        write_block(path, _rows(examples[start : start + BLOCK], input_size, transform))
        if progress:
            done = sum(block_path(folder, i).exists() for i in range(len(starts)))
            progress(min(done * BLOCK, len(examples)), len(examples))


def _rows(block: Sequence[Example], input_size: int, transform: Transform) -> npt.NDArray[Any]:
    """Return the rows of one block."""
    batches = dataset.batches(block, input_size, _BATCH)
    return np.concatenate(
        [
            transform(pixels, [example.digest for example in group])
            for (pixels, _), group in zip(batches, groups(block), strict=True)
        ]
    )


def groups(examples: Sequence[Example]) -> list[Sequence[Example]]:
    """Divide examples into fixed batches, so that rounding does not depend on who computes them."""
    return [examples[start : start + _BATCH] for start in range(0, len(examples), _BATCH)]


def write_block(path: Path, rows: npt.NDArray[Any]) -> None:
    """Write a block atomically."""
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    files.write_atomic(path, buffer.getvalue())


class StoredRows:
    """The rows of several folders as one array, memory-mapped and read on demand."""

    def __init__(self, counts: Mapping[Path, int]) -> None:
        """Open the blocks of all folders.

        Args:
            counts: the expected number of rows of each folder, in order.

        Raises:
            TrainingError: a block is missing or damaged. The message names it.
        """
        self._blocks = []
        for folder, count in counts.items():
            blocks = [self._open(block_path(folder, i)) for i in range(-(-count // BLOCK))]
            if sum(map(len, blocks)) != count:
                raise TrainingError(
                    f"{folder}: does not have {count} rows; remove this folder and start again"
                )
            self._blocks += blocks
        # The index of the first row of each block, and the total number of rows.
        self._starts = np.cumsum([0, *map(len, self._blocks)])
        self.shape = (int(self._starts[-1]), *self._blocks[0].shape[1:])
        self.dtype = self._blocks[0].dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def take(self, indices: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """Return a copy of the rows at `indices`, in that order."""
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(numbers):
            here = np.flatnonzero(numbers == number)
            rows[here] = self._blocks[number][indices[here] - self._starts[number]]
        return rows

    @staticmethod
    def _open(path: Path) -> npt.NDArray[Any]:
        try:
            mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            return mapped
        except FileNotFoundError as error:
            raise TrainingError(
                f"{path} is missing: all workers must share one cache_dir; on several nodes set "
                "cache_dir to a shared folder"
            ) from error
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path} is damaged ({error}); remove it and resume") from error


def row_bytes(input_size: int, features: int | None) -> int:
    """Return the bytes of one row on disk: `features` float32 values, or the pixels of an image."""
    return 4 * features if features is not None else 3 * input_size**2


def block_path(folder: Path, number: int) -> Path:
    """Return the file of the block whose first row is `number * BLOCK`."""
    return folder / f"block-{number:06d}.npy"
