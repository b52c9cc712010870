"""Computes cached rows (features or pixels) with Ray Data, on all free cores of a cluster.

Ray restarts the actors of a lost node elsewhere, and starts actors on new nodes. Only the driver
writes, block by block as in `pintag.train.fit.features`, so an interrupted computation continues
with the missing blocks.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag.cluster import failures
from pintag.cluster.actor_pool import ActorPool
from pintag.core import errors
from pintag.core.errors import PintagError, TrainingError
from pintag.core.types import Progress
from pintag.data.dataset import Example
from pintag.images import decoding
from pintag.models import backbones, networks
from pintag.train.config import TrainConfig
from pintag.train.fit import device, features
from pintag.train.fit.features import BLOCK, StoredRows

# The limit of Ray Data's actor pool; the free cores limit it further.
_MAX_ACTORS = 256

DataRow = dict[str, Any]
"""A row of Ray Data: one batch of images, or the values that were computed from it."""


@dataclass(frozen=True)
class Extraction:
    """How rows are computed from images: with a frozen backbone, or by decoding only."""

    config: TrainConfig
    num_labels: int
    use_gpu: bool = False
    views: int = 0
    """Random views of each image; 0: the image itself. See `pintag.train.fit.views`."""

    @property
    def is_transfer(self) -> bool:
        """Whether rows are features of a backbone."""
        return self.config.network_spec(self.num_labels).is_transfer

    @property
    def title(self) -> str:
        """The name of the extraction in progress bars and reports."""
        backbone, size = self.config.backbone, self.config.input_size
        if not self.is_transfer:
            return f"pixels at {size}"
        width = f" {backbone.alpha:g}" if backbones.TABLE[backbone.name].has_alpha else ""
        views = f", {self.views} views" if self.views else ""
        return f"{backbone.name}{width} at {size}{views}"

    def key(self, fingerprint: str) -> str:
        """Return the name of the folder of these rows below the cache.

        Raises:
            WeightsError: the weights of the backbone cannot be read.
        """
        if not self.is_transfer:
            return features.pixels_key(fingerprint, self.config.input_size)
        digest = features.weights_digest(self.config)
        return features.key(fingerprint, self.config, digest, "float32", self.views)


def extract(
    extraction: Extraction,
    folders: Mapping[Path, Sequence[Example]],
    progress: Progress | None = None,
) -> StoredRows:
    """Return the rows of the examples of all folders; rows that are not cached are computed.

    Args:
        progress: called with the number of rows on disk and the total number of rows.

    Raises:
        ImageError: an image can no longer be read. The message names it.
        WeightsError: the weights of the backbone cannot be read.
        TrainingError: Ray failed.
    """
    total = sum(map(len, folders.values()))
    if missing := _missing(folders):
        _run(extraction, missing, total, progress)
    return StoredRows({folder: len(examples) for folder, examples in folders.items()})


def _missing(folders: Mapping[Path, Sequence[Example]]) -> dict[Path, Sequence[Example]]:
    """Return the examples of each block that is not on disk, by the block's file."""
    missing = {}
    for folder, examples in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        for number, start in enumerate(range(0, len(examples), BLOCK)):
            path = features.block_path(folder, number)
            if not path.exists():
                missing[path] = examples[start : start + BLOCK]
    return missing


def _run(
    extraction: Extraction,
    missing: Mapping[Path, Sequence[Example]],
    total: int,
    progress: Progress | None,
) -> None:
    import ray

    done = total - sum(map(len, missing.values()))
    blocks = _Blocks(missing)
    pool = ActorPool(_Extractor, (extraction,), _MAX_ACTORS, extraction.use_gpu)
    try:
        for row in pool.map(_groups(missing)):
            _raise_failure(row["failure"])
            blocks.add(row)
            done += len(row["values"])
            if progress:
                progress(done, total)
    except ray.exceptions.RayError as error:
        raise TrainingError(f"features could not be computed: {failures.reason(error)}") from error


def _groups(missing: Mapping[Path, Sequence[Example]]) -> list[DataRow]:
    """Return a row for each group of images that are computed together."""
    return [
        {
            "block": number,
            "group": group,
            # Bytes, because Arrow has no text for names that are not UTF-8.
            "paths": [os.fsencode(example.path) for example in examples],
            "digests": [example.digest for example in examples],
        }
        for number, block in enumerate(missing.values())
        for group, examples in enumerate(features.groups(block))
    ]


class _Extractor:
    """An actor of the pool. It returns errors as text, because Ray loses the type of exceptions."""

    def __init__(self, extraction: Extraction) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        self._size = extraction.config.input_size
        self._failure = ""
        self._transform: features.Transform = features.identity
        self._no_values: npt.NDArray[Any] = np.zeros((0, 1, 1, 1), np.uint8)
        if extraction.is_transfer:
            self._no_values = np.zeros((0, 1), np.float32)
            try:
                self._transform = _transform(extraction)
            except PintagError as error:
                self._failure = _encode_error(error)

    def __call__(self, row: DataRow) -> DataRow:
        values, failure = self._no_values, self._failure
        if not failure:
            try:
                pixels = [
                    decoding.read(Path(os.fsdecode(path)), self._size) for path in row["paths"]
                ]
                values = self._transform(np.stack(pixels), row["digests"])
            except PintagError as error:
                failure = _encode_error(error)
        result = {"values": values, "failure": failure}
        return {"block": row["block"], "group": row["group"], **result}


def _encode_error(error: PintagError) -> str:
    return f"{type(error).__name__}: {error}"


def _raise_failure(failure: str) -> None:
    """Raise the error that an actor returned, if it returned one."""
    if failure:
        kind, _, message = failure.partition(": ")
        raise getattr(errors, kind)(message)


def _transform(extraction: Extraction) -> features.Transform:
    transform = features.extractor(_backbone(extraction))
    if not extraction.views:
        return transform
    return features.transform_views(transform, extraction.config.seed, extraction.views)


def _backbone(extraction: Extraction) -> Any:
    import keras
    import tensorflow as tf

    # Every actor has one core.
    device.limit_threads(1)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    keras.utils.set_random_seed(extraction.config.seed)
    spec = extraction.config.network_spec(extraction.num_labels)
    return networks.build_backbone(spec, extraction.config.backbone.weights)


class _Blocks:
    """Collects the computed groups of images in any order, and writes each block when complete."""

    def __init__(self, missing: Mapping[Path, Sequence[Example]]) -> None:
        self._paths = list(missing)
        self._counts = [len(features.groups(block)) for block in missing.values()]
        self._waiting: dict[int, dict[int, npt.NDArray[Any]]] = defaultdict(dict)

    def add(self, row: DataRow) -> None:
        number = row["block"]
        self._waiting[number][row["group"]] = row["values"]
        if len(self._waiting[number]) == self._counts[number]:
            groups = self._waiting.pop(number)
            rows = np.concatenate([groups[group] for group in sorted(groups)])
            features.write_block(self._paths[number], rows)
