"""Rows by a Ray Data pipeline: every image once, by a pool of actors wherever there is room.

Actors are restarted and their images given to others when a node is lost; a node that joins gets
actors. The driver alone writes, block by block as in `train.features`, so that an interrupted pass
goes on where it stopped.
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

import cluster
from pintag import backbones, errors, images, networks
from pintag.dataset import Example, Progress
from pintag.errors import PintagError, TrainingError
from train import device, features
from train.config import TrainConfig
from train.features import BLOCK, Rows

# Actors at most; as many as have room are started.
_ACTORS = 256

Row = dict[str, Any]


@dataclass(frozen=True)
class Extraction:
    """What rows are made by: a frozen backbone, or nothing but the decoder."""

    config: TrainConfig
    num_labels: int
    use_gpu: bool = False
    views: int = 0
    """Random views of each image instead of the picture; see `train.views`."""

    @property
    def is_transfer(self) -> bool:
        """Whether a backbone is asked."""
        return self.config.network_spec(self.num_labels).is_transfer

    @property
    def title(self) -> str:
        """What people call it."""
        backbone, size = self.config.backbone, self.config.input_size
        if not self.is_transfer:
            return f"pixels at {size}"
        width = f" {backbone.alpha:g}" if backbones.TABLE[backbone.name].has_alpha else ""
        many = f", {self.views} views" if self.views else ""
        return f"{backbone.name}{width} at {size}{many}"

    def key(self, fingerprint: str) -> str:
        """The folder of these rows of a data set, below the cache."""
        if not self.is_transfer:
            return features.pixels_key(fingerprint, self.config.input_size)
        digest = features.weights_digest(self.config)
        return features.key(fingerprint, self.config, digest, "float32", self.views)


def extract(
    extraction: Extraction,
    folders: Mapping[Path, Sequence[Example]],
    progress: Progress | None = None,
) -> Rows:
    """The rows of all folders' examples, one after another; those that are missing are computed.

    Args:
        progress: called with the rows that are done, and all rows.

    Raises:
        ImageError: an image cannot be read any more, naming it.
        WeightsError: the backbone's weights cannot be had.
    """
    total = sum(map(len, folders.values()))
    if missing := _missing(folders):
        _run(extraction, missing, total, progress)
    return Rows({folder: len(examples) for folder, examples in folders.items()})


def _missing(folders: Mapping[Path, Sequence[Example]]) -> dict[Path, Sequence[Example]]:
    """The examples of each block that is not on disk, by its file."""
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

    cluster.quiet_data()
    groups = [
        {
            "block": number,
            "group": group,
            "paths": [os.fspath(each.path) for each in examples],
            "digests": [each.digest for each in examples],
        }
        for number, block in enumerate(missing.values())
        for group, examples in enumerate(features.groups(block))
    ]
    done = total - sum(map(len, missing.values()))
    blocks = _Blocks(missing)
    made = ray.data.from_items(groups, override_num_blocks=len(groups)).map(
        _Extractor,
        fn_constructor_args=(extraction,),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=_ACTORS),
        num_cpus=1,
        num_gpus=1 if extraction.use_gpu else 0,
    )
    try:
        for row in made.iter_rows():
            _raise(row["failure"])
            blocks.add(row)
            done += len(row["values"])
            if progress:
                progress(done, total)
    except ray.exceptions.RayError as error:
        raise TrainingError(f"no features: {error}") from error


class _Extractor:
    """One actor of the pool. Errors of ours are rows: of an exception Ray keeps only the words."""

    def __init__(self, extraction: Extraction) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        self._size = extraction.config.input_size
        self._failure = ""
        self._transform: features.Transform = features.identity
        self._nothing: npt.NDArray[Any] = np.zeros((0, 1, 1, 1), np.uint8)
        if extraction.is_transfer:
            self._nothing = np.zeros((0, 1), np.float32)
            try:
                self._transform = _transform(extraction)
            except PintagError as error:
                self._failure = _told(error)

    def __call__(self, row: Row) -> Row:
        values, failure = self._nothing, self._failure
        if not failure:
            try:
                pixels = [images.read(Path(path), self._size) for path in row["paths"]]
                values = self._transform(np.stack(pixels), row["digests"])
            except PintagError as error:
                failure = _told(error)
        told = {"values": values, "failure": failure}
        return {"block": row["block"], "group": row["group"], **told}


def _told(error: PintagError) -> str:
    return f"{type(error).__name__}: {error}"


def _raise(told: str) -> None:
    """The error that an actor told of, if it did."""
    if told:
        kind, _, words = told.partition(": ")
        raise getattr(errors, kind)(words)


def _transform(extraction: Extraction) -> features.Transform:
    made = features.extractor(_backbone(extraction))
    if not extraction.views:
        return made
    return features.of_views(made, extraction.config.seed, extraction.views)


def _backbone(extraction: Extraction) -> Any:
    import keras
    import tensorflow as tf

    # One processor each is what an actor is given.
    device.limit_threads(1)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    keras.utils.set_random_seed(extraction.config.seed)
    spec = extraction.config.network_spec(extraction.num_labels)
    return networks.build_backbone(spec, extraction.config.backbone.weights)


class _Blocks:
    """Groups as they come, in any order, until their block is whole."""

    def __init__(self, missing: Mapping[Path, Sequence[Example]]) -> None:
        self._paths = list(missing)
        self._counts = [len(features.groups(block)) for block in missing.values()]
        self._waiting: dict[int, dict[int, npt.NDArray[Any]]] = defaultdict(dict)

    def add(self, row: Row) -> None:
        number = row["block"]
        self._waiting[number][row["group"]] = row["values"]
        if len(self._waiting[number]) == self._counts[number]:
            groups = self._waiting.pop(number)
            whole = np.concatenate([groups[group] for group in sorted(groups)])
            features.write_block(self._paths[number], whole)
