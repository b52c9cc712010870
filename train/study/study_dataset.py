"""The images of a study as arrays: one row per image, in a fixed order."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag.core import files
from pintag.core.types import Progress, Targets
from pintag.data.dataset import DataSet
from pintag.train.config import SvmConfig, TrainConfig
from pintag.train.fit.epochs import Indices
from pintag.train.study.extraction import Extraction, extract

_SECONDS = "seconds.json"


@dataclass(frozen=True)
class StudyDataset:
    """A data set as arrays of N rows. The rows of its splits follow one another."""

    data: DataSet
    cache: Path
    """The folder of cached rows."""

    @classmethod
    def of(cls, data: DataSet, cache: Path | None) -> StudyDataset:
        """Return the data set with absolute paths, since Ray's actors run in other folders."""
        return cls(data.with_absolute_paths(), (cache or files.cache()).absolute())

    @property
    def num_labels(self) -> int:
        return len(self.data.labels)

    @cached_property
    def targets(self) -> Targets:
        """`int64[N]`: the label of every row."""
        return np.array([example.target for example in self.data.examples], np.int64)

    @cached_property
    def indices(self) -> Mapping[str, Indices]:
        """The row indices of each split."""
        counts = [len(examples) for examples in self.data.splits.values()]
        return {
            split: np.arange(end - count, end)
            for split, count, end in zip(self.data.splits, counts, np.cumsum(counts), strict=True)
        }

    def targets_of(self, split: str) -> Targets:
        """Return the labels of a split's rows."""
        return self.targets[self.indices[split]]

    @property
    def digests(self) -> tuple[str, ...]:
        """The digest of every row's image file."""
        return tuple(example.digest for example in self.data.examples)

    def key(self, extraction: Extraction) -> str:
        """Return the name of the cached array that an extraction makes of this data set.

        Raises:
            WeightsError: the weights of the backbone cannot be read.
        """
        return extraction.key(self.data.fingerprint)

    def inputs(self, learner: SvmConfig | TrainConfig) -> tuple[str, ...]:
        """Return the keys of a learner's input arrays; see `extractions`."""
        return tuple(self.key(extraction) for extraction in self.extractions(learner))

    def extractions(self, learner: SvmConfig | TrainConfig) -> tuple[Extraction, ...]:
        """Return the extraction of a learner's rows, and that of random views if it uses them."""
        import ray

        if isinstance(learner, SvmConfig):
            # An SVM reads pixels, like a basic network. Only the image size matters here.
            learner = TrainConfig.model_validate(
                {"backbone": {"name": "basic_cnn"}, "input_size": learner.input_size}
            )
        has_gpu = bool(ray.cluster_resources().get("GPU", 0))
        plain = Extraction(learner, self.num_labels, use_gpu=has_gpu)
        if not plain.is_transfer or not learner.head.views:
            return (plain,)
        return plain, replace(plain, views=learner.head.views)

    def rows(self, extraction: Extraction, progress: Progress | None = None) -> npt.NDArray[Any]:
        """Return the rows `[N, ...]` of an extraction; those that are not cached are computed."""
        folder = self.cache / self.key(extraction)
        folders = {folder / split: examples for split, examples in self.data.splits.items()}
        started, previous = time.perf_counter(), self.seconds(extraction)
        was_computed = False

        def on_progress(done: int, total: int) -> None:
            nonlocal was_computed
            was_computed = True
            if progress:
                progress(done, total)

        rows = extract(extraction, folders, on_progress)
        if was_computed:
            seconds = previous + time.perf_counter() - started
            files.write_atomic(folder / _SECONDS, json.dumps(seconds))
        return rows.take(np.arange(len(rows)))

    def seconds(self, extraction: Extraction) -> float:
        """Return the wall seconds that computing the cached rows took, in any study."""
        path = self.cache / self.key(extraction) / _SECONDS
        # The cache may be damaged, and the study needs the rows, not their seconds.
        with contextlib.suppress(OSError, ValueError, TypeError):
            return float(json.loads(path.read_bytes()))
        return 0.0
