"""Predictions of perturbed samples of one image, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from pintag.core.types import Array, Confidences
from pintag.explain.perturbation import Masks, Perturber
from pintag.explain.surrogate import choose

Predict = Callable[[Array], Confidences]
"""`[N,H,W,3]` of the image's dtype to `float[N,C]`. The next call overwrites the images."""
Stop = Callable[[], bool]
"""Returns whether sampling has to end."""


class Sampler:
    """Predicts perturbed images, the first of which is the whole image, until `stop` is true."""

    def __init__(
        self,
        perturber: Perturber,
        predict: Predict,
        batch_size: int,
        stop: Stop | None = None,
        labels: Sequence[int] | int = 1,
    ) -> None:
        """`labels`: the labels to explain, or the number of most confident ones of the image."""
        self.segments = perturber.segments
        self.labels: list[int] = []
        """The labels to explain; empty before the first batch."""
        self._requested_labels = labels
        self._perturber = perturber
        self._predict = predict
        self._batch_size = batch_size
        self._stop = stop
        self.count = 0
        """Samples predicted so far."""
        self.seconds = 0.0
        """Wall seconds spent on them."""
        self.stopped = False
        self._classes = 0

    def predict(self, masks: Masks) -> Confidences:
        """Masks `bool[S,K]` to `float[S,C]`, or to fewer rows if `stop` ends the sampling.

        The first batch, and at least two samples, are always predicted: one sample contains no
        information.

        Raises:
            ValueError: the predict function did not return finite `float[B,C]`, or a requested
                label does not exist, which the first batch shows.
        """
        started = time.perf_counter()
        parts = []
        for start in range(0, len(masks), self._batch_size):
            self.stopped = self.stopped or bool(self.count > 1 and self._stop and self._stop())
            if self.stopped:
                break
            batch = masks[start : start + self._batch_size]
            parts.append(_checked(self._predict(self._perturber.images(batch)), len(batch)))
            if not self.count:
                self._classes = parts[0].shape[1]
                self.labels = choose(self._requested_labels, parts[0][0])
            self.count += len(batch)
        self.seconds += time.perf_counter() - started
        return np.concatenate(parts) if parts else np.empty((0, self._classes), np.float32)


def _checked(confidences: Confidences, count: int) -> Confidences:
    if confidences.ndim != 2 or len(confidences) != count:
        raise ValueError(
            f"the predict function returned {list(confidences.shape)} for {count} images, not [N,C]"
        )
    if not np.isfinite(confidences).all():
        raise ValueError("the predict function returned confidences that are NaN or infinite")
    return confidences
