"""Labels: the names of the classes; tags: labels with their confidences."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag.core import formatting
from pintag.core.errors import DataError

DEFAULT_NAMES = (
    "animals",
    "art",
    "automobiles",
    "fashion",
    "food",
    "houses",
    "technology",
    "travel",
)


@dataclass(frozen=True, slots=True)
class Tag:
    """A label and the calibrated probability that it is right.

    Attributes:
        label: the name of the label.
        confidence: the probability, 0 to 1.
    """

    label: str
    confidence: float


@dataclass(frozen=True)
class Labels:
    """The names of the labels, sorted and unique; the order of the network's outputs."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise DataError(f"at least two labels are needed, not {list(self.names)}")
        if list(self.names) != sorted(set(self.names)):
            raise DataError(f"labels must be sorted and unique, not {list(self.names)}")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    def index(self, name: str) -> int:
        """The output index of a label.

        `é` may be one character or two (NFC, NFD): systems differ in how they write it, and people
        see no difference. The same spelling goes first.

        Raises:
            DataError: there is no such label.
        """
        if name in self.names:
            return self.names.index(name)
        composed = unicodedata.normalize("NFC", name)
        for index, label in enumerate(self.names):
            if unicodedata.normalize("NFC", label) == composed:
                return index
        raise DataError(f"no label {name!r}; there are {formatting.names(self)}")

    def top(
        self,
        confidences: npt.NDArray[np.floating[Any]] | Sequence[float],
        max_tags: int | None = None,
        min_confidence: float = 0.0,
    ) -> list[Tag]:
        """The tags of a row of confidences `float[C]`, most confident first.

        Args:
            max_tags: at most this many tags; None is all.
            min_confidence: leave out tags below this confidence.
        """
        row = np.asarray(confidences, float)
        order = np.argsort(-row, kind="stable")[:max_tags]
        # Plain values: an element of an array takes five times as long to read.
        pairs = zip(order.tolist(), row[order].tolist(), strict=True)
        return [
            Tag(self.names[i], confidence)
            for i, confidence in pairs
            if confidence >= min_confidence
        ]
