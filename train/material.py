"""The images of a study, as what learners see of them: rows, by their places."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag import files
from pintag.dataset import DataSet, Progress
from train.config import SvmConfig, TrainConfig
from train.epochs import Indices
from train.extraction import Extraction, extract
from train.learners import Targets

_SECONDS = "seconds.json"


@dataclass(frozen=True)
class Material:
    """A data set whose splits' rows lie one after another."""

    data: DataSet
    cache: Path
    """Where rows are kept."""

    @classmethod
    def of(cls, data: DataSet, cache: Path | None) -> Material:
        """With absolute paths, as actors run in folders of their own."""
        return cls(data.located(), (cache or files.cache()).absolute())

    @property
    def num_labels(self) -> int:
        return len(self.data.labels)

    @cached_property
    def targets(self) -> Targets:
        """`int64[N]`, of every row."""
        return np.array([example.target for example in self.data.examples], np.int64)

    @cached_property
    def places(self) -> Mapping[str, Indices]:
        """Where each split's rows are."""
        counts = [len(examples) for examples in self.data.splits.values()]
        ends = np.cumsum(counts)
        return {
            split: np.arange(end - count, end)
            for split, count, end in zip(self.data.splits, counts, ends, strict=True)
        }

    def targets_of(self, split: str) -> Targets:
        return self.targets[self.places[split]]

    @property
    def digests(self) -> tuple[str, ...]:
        """Of every row's image."""
        return tuple(example.digest for example in self.data.examples)

    def key(self, extraction: Extraction) -> str:
        """What tells its rows of these images from others."""
        return extraction.key(self.data.fingerprint)

    def extractions(self, learner: SvmConfig | TrainConfig) -> tuple[Extraction, ...]:
        """What makes the rows that a learner sees, and those of their views if it sees any."""
        import ray

        if isinstance(learner, SvmConfig):
            # Any network that sees pixels: nothing but the size counts.
            learner = TrainConfig.model_validate(
                {"backbone": {"name": "basic_cnn"}, "input_size": learner.input_size}
            )
        has_gpu = bool(ray.cluster_resources().get("GPU", 0))
        plain = Extraction(learner, self.num_labels, use_gpu=has_gpu)
        if not plain.is_transfer or not learner.head.views:
            return (plain,)
        return plain, replace(plain, views=learner.head.views)

    def rows(self, extraction: Extraction, progress: Progress | None = None) -> npt.NDArray[Any]:
        """`[N, ...]`: a row for every image, computed where it is not on disk."""
        folder = self.cache / self.key(extraction)
        folders = {folder / split: examples for split, examples in self.data.splits.items()}
        started, before = time.perf_counter(), self.seconds(extraction)
        computed = False

        def watch(done: int, total: int) -> None:
            nonlocal computed
            computed = True
            if progress:
                progress(done, total)

        rows = extract(extraction, folders, watch)
        if computed:
            taken = before + time.perf_counter() - started
            files.write_atomic(folder / _SECONDS, json.dumps(taken))
        return rows.take(np.arange(len(rows)))

    def seconds(self, extraction: Extraction) -> float:
        """What computing those rows took, whenever that was."""
        path = self.cache / self.key(extraction) / _SECONDS
        return float(json.loads(path.read_text())) if path.exists() else 0.0
