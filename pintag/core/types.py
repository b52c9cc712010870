"""Types that all packages share: arrays, callbacks, and the engine from images to confidences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""One image as `uint8[H,W,3]` in RGB, or a batch of them as `uint8[N,H,W,3]`."""

Confidences = npt.NDArray[np.float32]
"""Probabilities of the labels: `float32[C]` for one image, `float32[N,C]` for a batch."""

Logits = npt.NDArray[np.float32]
"""What a network predicts before softmax: `float32[N,C]`."""

Targets = npt.NDArray[np.int64]
"""The index of each image's label: `int64[N]`."""

Floats = npt.NDArray[np.float64]
"""Numbers of any shape, in double precision."""

Array = npt.NDArray[Any]
"""An array of any shape and type."""

Progress = Callable[[int, int], None]
"""Is called with what is done and the total, while a long job runs."""

Notify = Callable[[str], None]
"""Is called with messages for the user."""


class Engine(Protocol):
    """A model that predicts; `predict` may be called from several threads at once."""

    name: str
    precision: str
    """The precision of its arithmetic: `fp32`, `fp16` or `int8`."""
    input_size: int

    def predict(self, pixels: Pixels) -> Confidences:
        """`uint8[N,S,S,3]` to `float32[N,C]`, rows summing to one; N is at least 1."""
        ...
