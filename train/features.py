"""Arrays on disk that training reads: frozen-backbone features, or the decoded pixels themselves.

Rows are computed once, in blocks that the workers take in turn. A block is a file that appears
whole or not at all, so an interrupted pass goes on where it stopped and a second run reads the
first one's work. The folder of an array is named by the digest of all that determines it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pintag import backbones, dataset, files, images
from pintag.dataset import Example
from pintag.errors import TrainingError, WeightsError
from train import views
from train.config import TrainConfig

if TYPE_CHECKING:
    import keras

BLOCK = 256
_BATCH = 32
# Part of every key: raise it when decoding or the layout on disk changes.
_FORMAT = 2

Transform = Callable[[images.Pixels, Sequence[str]], npt.NDArray[Any]]
"""`uint8[n,S,S,3]` and the digests of those images to `[n, ...]`."""


def key(fingerprint: str, config: TrainConfig, digest: str, dtype: str, count: int = 0) -> str:
    """The folder of a data set's features.

    Args:
        digest: of the backbone's weights; see `weights_digest`.
        dtype: that the backbone computes in.
        count: random views of each image; 0: of the pictures themselves.
    """
    backbone = config.backbone
    parts = ("features", fingerprint, digest, backbone.name, backbone.alpha, config.input_size)
    return _key(*parts, dtype, *((views.VERSION, config.seed, count) if count else ()))


def pixels_key(fingerprint: str, input_size: int) -> str:
    """The folder of a data set's decoded pixels."""
    return _key("decoding", fingerprint, input_size)


def _key(*parts: object) -> str:
    text = "\n".join(map(str, (_FORMAT, *parts)))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def weights_digest(config: TrainConfig) -> str:
    """What tells one set of backbone weights from another.

    Raises:
        WeightsError: there is no such file.
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
    """`uint8[n,S,S,3] -> float32[n,D]` by a frozen backbone, for batches of any size."""
    import tensorflow as tf

    shape = (None, *backbone.input_shape[1:])
    function = tf.function(
        lambda pixels: tf.cast(backbone(pixels, training=False), tf.float32),
        input_signature=[tf.TensorSpec(shape, tf.uint8)],
    )
    return lambda pixels, _: function(pixels).numpy()


def of_views(transform: Transform, seed: int, count: int) -> Transform:
    """`uint8[n,S,S,3] -> [n, 1+V, ...]`: a transform of the mirror and of `count` random views."""

    def each(pixels: images.Pixels, digests: Sequence[str]) -> npt.NDArray[Any]:
        shown = (views.views(pixels, digests, seed, number) for number in views.stored(count))
        return np.stack([transform(view, digests) for view in shown], axis=1)

    return each


def identity(pixels: images.Pixels, digests: Sequence[str]) -> images.Pixels:
    """The pixels themselves."""
    return pixels


def compute(
    folder: Path,
    examples: Sequence[Example],
    input_size: int,
    transform: Transform,
    *,
    rank: int = 0,
    world: int = 1,
    progress: dataset.Progress | None = None,
) -> None:
    """Write this worker's missing blocks of `transform`'s rows.

    Args:
        progress: called with the rows that lie in the folder, and all rows, after each block.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(examples), BLOCK)
    for number, start in enumerate(starts):
        path = block_path(folder, number)
        if number % world != rank or path.exists():
            continue
        block = examples[start : start + BLOCK]
        rows = [
            transform(pixels, [example.digest for example in group])
            for (pixels, _), group in zip(
                dataset.batches(block, input_size, _BATCH), groups(block), strict=True
            )
        ]
        write_block(path, np.concatenate(rows))
        if progress:
            done = sum(block_path(folder, i).exists() for i in range(len(starts)))
            progress(min(done * BLOCK, len(examples)), len(examples))


def groups(examples: Sequence[Example]) -> list[Sequence[Example]]:
    """What an engine sees together: always the same, so that its rounding is, too."""
    return [examples[start : start + _BATCH] for start in range(0, len(examples), _BATCH)]


def write_block(path: Path, rows: npt.NDArray[Any]) -> None:
    """A block appears whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    files.write_atomic(path, buffer.getvalue())


class Rows:
    """The rows of all blocks of some folders as one array, mapped from disk and read on demand."""

    def __init__(self, counts: Mapping[Path, int]) -> None:
        """Open folders that hold so many rows each, one after another.

        Raises:
            TrainingError: a block is missing or damaged, naming it.
        """
        self._blocks = []
        for folder, count in counts.items():
            blocks = [self._open(block_path(folder, i)) for i in range(-(-count // BLOCK))]
            if sum(map(len, blocks)) != count:
                raise TrainingError(
                    f"{folder}: does not hold {count} rows; remove it and start again"
                )
            self._blocks += blocks
        # The place of each block's first row, and of the end.
        self._starts = np.cumsum([0, *map(len, self._blocks)])
        self.shape = (int(self._starts[-1]), *self._blocks[0].shape[1:])
        self.dtype = self._blocks[0].dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def take(self, indices: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """A copy of the rows at `indices`, in that order."""
        found = np.empty((len(indices), *self.shape[1:]), self.dtype)
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(numbers):
            here = np.flatnonzero(numbers == number)
            found[here] = self._blocks[number][indices[here] - self._starts[number]]
        return found

    @staticmethod
    def _open(path: Path) -> npt.NDArray[Any]:
        try:
            mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            return mapped
        except FileNotFoundError as error:
            raise TrainingError(
                f"{path} is missing: every worker must see one cache_dir; on several nodes set it "
                "to a folder that they share"
            ) from error
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path} is damaged ({error}); remove it and go on") from error


def row_bytes(input_size: int, features: int | None) -> int:
    """Bytes on disk of a row: `features` float32, or the pixels of an image."""
    return 4 * features if features is not None else 3 * input_size**2


def block_path(folder: Path, number: int) -> Path:
    """The file of the rows from `number * BLOCK` on."""
    return folder / f"block-{number:06d}.npy"
