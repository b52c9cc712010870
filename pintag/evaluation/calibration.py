"""Calibration: make a confidence of 80 % mean that 80 % of such answers are right.

Temperature scaling and the expected calibration error, from Guo, Pleiss, Sun and Weinberger,
"On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

AnyFloats = npt.NDArray[np.floating]
AnyInts = npt.NDArray[np.integer]

BINS = 15
# Outside this range all images are right or the model is useless, and the likelihood is flat.
TEMPERATURE_RANGE = (0.05, 20.0)


def fit_temperature(logits: AnyFloats, targets: AnyInts) -> float:
    """The temperature T that maximises the likelihood of `softmax(logits / T)`.

    Args:
        logits: `float[N,C]`, of images that were not trained on.
        targets: `int[N]`, the true classes.

    Returns:
        T, within `TEMPERATURE_RANGE`; 1.0 when there are no images. Dividing by T never changes the
        top class of an image.
    """
    if len(targets) == 0:
        return 1.0
    exact = np.asarray(logits, np.float64)
    low, high = np.log(TEMPERATURE_RANGE)
    minimum = minimize_scalar(
        lambda log_t: negative_log_likelihood(exact / np.exp(log_t), targets),
        bounds=(low, high),
        method="bounded",
    )
    return float(np.exp(minimum.x))


def negative_log_likelihood(logits: AnyFloats, targets: AnyInts) -> float:
    """Mean of `-log softmax(logits)[target]`, in nats."""
    rows = np.arange(len(targets))
    return float(-log_softmax(logits, axis=1)[rows, targets].mean())


def expected_calibration_error(confidences: AnyFloats, targets: AnyInts, bins: int = BINS) -> float:
    """The expected calibration error (ECE), 0 to 1.

    Images are grouped into bins of equal width by their top confidence. The error of a bin is the
    absolute difference between its mean confidence and its accuracy. The ECE is the mean error of
    the bins, weighted by their numbers of images.

    Args:
        confidences: `float[N,C]`, rows that sum to one.
        targets: `int[N]`.
    """
    filled = reliability(confidences, targets, bins)
    total = sum(count for _, _, count in filled)
    gaps = sum(abs(accuracy - confidence) * count for confidence, accuracy, count in filled)
    return float(gaps / max(total, 1))


def reliability(
    confidences: AnyFloats, targets: AnyInts, bins: int = BINS
) -> list[tuple[float, float, int]]:
    """Mean top confidence, accuracy and number of images of each bin that has images."""
    top = confidences.max(axis=1)
    correct = confidences.argmax(axis=1) == targets
    # A confidence of exactly k/bins belongs to the bin below it: (a, b], as in the paper.
    bin_of = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    sums = np.bincount(bin_of, weights=top, minlength=bins)
    hits = np.bincount(bin_of, weights=correct, minlength=bins)
    return [
        (float(sums[index] / counts[index]), float(hits[index] / counts[index]), int(counts[index]))
        for index in np.flatnonzero(counts)
    ]
