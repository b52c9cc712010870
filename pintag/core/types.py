"""Types that all packages share: images, confidences, and the engine that maps one to the other."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""One image as `uint8[H,W,3]` in RGB, or a batch of them as `uint8[N,H,W,3]`."""

Confidences = npt.NDArray[np.float32]
"""Probabilities of the labels: `float32[C]` for one image, `float32[N,C]` for a batch."""


class Engine(Protocol):
    """A model that predicts; `predict` may be called from several threads at once."""

    name: str
    precision: str
    """The precision of its arithmetic: `fp32`, `fp16` or `int8`."""
    input_size: int

    def predict(self, pixels: Pixels) -> Confidences:
        """`uint8[N,S,S,3]` to `float32[N,C]`, rows summing to one; N is at least 1."""
        ...
