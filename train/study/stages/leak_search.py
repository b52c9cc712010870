"""Stage 1: finds leaks: equal or similar images in two splits. Moves them on request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pintag.data import leaks
from pintag.data.dataset import DataSet
from pintag.report.results import ReportedLeak
from pintag.train.study import summary
from pintag.train.study.stages.stage import Stage, StudyContext
from pintag.train.study.study_dataset import StudyDataset

_TITLE = "looking for leaks"


@dataclass(frozen=True)
class CheckedData:
    """The data set of the study after the search for leaks."""

    dataset: StudyDataset
    groups: npt.NDArray[np.integer]
    """`int[N]`: the group of every row. Equal and similar images have the same group."""
    leaks: list[ReportedLeak]


class LeakSearch(Stage[CheckedData]):
    """Compares all images of the data set by a perceptual hash."""

    def __init__(self, context: StudyContext, data: DataSet, *, drop_leaks: bool) -> None:
        """Prepare; `drop_leaks` moves images that are in two splits to the earlier split."""
        self._context, self._data, self._drop_leaks = context, data, drop_leaks
        self._checked: CheckedData | None = None

    def is_done(self) -> bool:
        """Return False before the search. It is fast, so its result is not stored on disk."""
        return self._checked is not None

    def run(self) -> None:
        context, data = self._context, self._data
        with context.store.timed(_TITLE):
            pairs, groups = leaks.find(data, progress=context.progress(_TITLE))
            reported = [summary.reported_leak(data, leak, moved=self._drop_leaks) for leak in pairs]
            if self._drop_leaks and pairs:
                group_of = dict(zip(data.examples, groups, strict=True))
                data = leaks.move(data, pairs)
                groups = np.array([group_of[example] for example in data.examples])
        dataset = StudyDataset.of(data, context.config.cache_dir)
        self._checked = CheckedData(dataset, groups, reported)

    def result(self) -> CheckedData:
        assert self._checked is not None
        return self._checked
