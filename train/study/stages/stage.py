"""The base class of all stages, and the objects that all stages share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from pintag.train.study.plan import StudyConfig
from pintag.train.study.study_store import StudyStore

OnProgress = Callable[[str, float, int], None]
"""Called with the title of a stage, the amount that is done, and the total amount."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class StudyContext:
    """The configuration and the files of a study, and the function that reports progress."""

    config: StudyConfig
    store: StudyStore
    on_progress: OnProgress

    def progress(self, title: str) -> Callable[[float, int], None]:
        """Return a function that reports the progress of the stage `title`."""
        return partial(self.on_progress, title)


class Stage(ABC, Generic[Result]):
    """A part of a study. Its constructor takes the results of earlier stages."""

    @abstractmethod
    def is_done(self) -> bool:
        """Return whether the result is already stored."""

    @abstractmethod
    def run(self) -> None:
        """Do what is missing, and store every part as soon as it is done."""

    @abstractmethod
    def result(self) -> Result:
        """Return the stored result."""


def complete(stage: Stage[Result]) -> Result:
    """Run a stage unless it is done, and return its result."""
    if not stage.is_done():
        stage.run()
    return stage.result()
