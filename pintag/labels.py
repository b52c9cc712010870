"""Labels: the names of the classes, and the tags that a row of confidences gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag.errors import DataError

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
    """One suggested category and the calibrated probability that it is right."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Labels:
    """The class names in the order of the network's outputs: sorted, each once."""

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
        """The output index of `name`; a `DataError` that lists the labels when there is none."""
        try:
            return self.names.index(name)
        except ValueError:
            raise DataError(f"no label {name!r}; there are {', '.join(self.names)}") from None

    def top(
        self,
        confidences: npt.NDArray[np.floating[Any]] | Sequence[float],
        max_tags: int | None = None,
        min_confidence: float = 0.0,
    ) -> list[Tag]:
        """The tags of one row `float[C]`, most confident first; ties in the order of the labels."""
        row = np.asarray(confidences)
        order = np.argsort(-row, kind="stable")[:max_tags]
        return [Tag(self.names[i], float(row[i])) for i in order if float(row[i]) >= min_confidence]
