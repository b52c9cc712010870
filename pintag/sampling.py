"""Perturbed samples of one image through a predict function, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from pintag.engine import Confidences
from pintag.perturbation import Array, Masks, Perturber
from pintag.surrogate import choose

Predict = Callable[[Array], Confidences]
"""`[N,H,W,3]` of the image's dtype to `float[N,C]`; the images are overwritten by the next call."""
Stop = Callable[[], bool]


class Sampler:
    """Predicts perturbed images, of which the first is the whole one, until it is told to stop."""

    def __init__(
        self,
        perturber: Perturber,
        predict: Predict,
        batch_size: int,
        stop: Stop | None = None,
        labels: Sequence[int] | int = 1,
    ) -> None:
        """`labels` are those to explain, or how many of the whole image's most confident ones."""
        self.segments = perturber.segments
        self.labels: list[int] = []
        """Those to explain: known with the first batch."""
        self._wanted = labels
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
        """`bool[S,K]` to `float[S,C]`, or to fewer rows when told to stop in between.

        The first batch, and two samples in all, are always predicted, so that there is something
        to tell: one by itself says nothing.

        Raises:
            ValueError: the predict function's answer is no finite `float[B,C]`, or has no such
                label: found with the first batch, and not after all of them.
        """
        started = time.perf_counter()
        done = []
        for start in range(0, len(masks), self._batch_size):
            self.stopped = self.stopped or bool(self.count > 1 and self._stop and self._stop())
            if self.stopped:
                break
            batch = masks[start : start + self._batch_size]
            done.append(_checked(self._predict(self._perturber.images(batch)), len(batch)))
            if not self.count:
                self._classes = done[0].shape[1]
                self.labels = choose(self._wanted, done[0][0])
            self.count += len(batch)
        self.seconds += time.perf_counter() - started
        return np.concatenate(done) if done else np.empty((0, self._classes), np.float32)


def _checked(confidences: Confidences, count: int) -> Confidences:
    if confidences.ndim != 2 or len(confidences) != count:
        raise ValueError(
            f"the predict function gave {list(confidences.shape)} for {count} images, not [N,C]"
        )
    if not np.isfinite(confidences).all():
        raise ValueError("the predict function gave confidences that are no numbers")
    return confidences
