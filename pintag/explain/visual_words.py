"""Visual words: clusters of segments of many images, by their look and the model's predictions.

Both have equal weight. Clusters by look alone mix segments that the model distinguishes; clusters
by predictions alone mix segments that people would call different things. ACE (Ghorbani et al.,
2019) clusters segments by the activations of a hidden layer. A predict function gives no access to
such a layer, so its prediction for the segment alone is used instead.
docs/decisions/0007-sp-lime-for-images.md has the measurements.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import kmeans2
from skimage.color import rgb2lab
from skimage.filters import sobel
from skimage.transform import resize

from pintag.core.types import Array, Floats
from pintag.explain.sampling import Predict
from pintag.explain.superpixels import Segments

Rows = npt.NDArray[np.intp]

_RUNS = 10
# The smallest confidence, so that its logarithm is finite.
_SMALLEST = 1e-6


def looks(image: Array, segments: Segments) -> Floats:
    """The look of each segment: `float64[K,10]`.

    Mean and standard deviation of CIELAB's lightness and two colour axes, the mean strength of
    edges in lightness, the logarithm of the segment's share of the image, and the position of its
    centre: height and distance from the vertical middle line, so that mirrored images are equal.
    """
    lab = rgb2lab(image)
    height, width = segments.shape
    rows, columns = np.indices(segments.shape)
    layers = [*np.moveaxis(lab, -1, 0), sobel(lab[..., 0]), (rows + 0.5) / height]
    layers.append(np.abs((columns + 0.5) / width - 0.5))
    flat = segments.ravel()
    sizes = np.bincount(flat)
    means = np.array([np.bincount(flat, layer.ravel()) / sizes for layer in layers])
    squares = np.array([np.bincount(flat, layer.ravel() ** 2) / sizes for layer in layers[:3]])
    spreads = np.sqrt(np.maximum(squares - means[:3] ** 2, 0))
    descriptors: Floats = np.vstack([means, spreads, np.log(sizes / flat.size)]).T
    return descriptors


def answers(
    image: Array, hidden: Array, segments: Segments, chosen: Sequence[int], predict: Predict
) -> Floats:
    """The model's prediction of each chosen segment alone, enlarged to an image: `float64[N,C]`.

    The values are logarithms of confidences, minus their mean over the labels.

    Args:
        hidden: `[H,W,3]`, what replaces the pixels around the segment.
    """
    alone = np.stack([_alone(image, hidden, segments == segment) for segment in chosen])
    logs = np.log(np.maximum(predict(alone).astype(np.float64), _SMALLEST))
    centred: Floats = logs - logs.mean(axis=1, keepdims=True)
    return centred


def words(*blocks: Floats) -> list[Rows]:
    """Cluster N segments into words: the row numbers of each word, the most typical first.

    There are `sqrt(N / 2)` words, the rule of thumb of Mardia, Kent & Bibby, *Multivariate
    Analysis* (1979). The clusters are the best of ten runs of k-means with fixed seeds.

    Args:
        blocks: descriptors, `float64[N,D]` each. Columns are standardised, and all blocks have
            equal weight.
    """
    rows = np.hstack([_standardised(block) / np.sqrt(block.shape[1]) for block in blocks])
    count = max(1, round(np.sqrt(len(rows) / 2)))
    numbers = _kmeans(rows, min(count, len(np.unique(rows, axis=0))))
    return [_typical_first(rows, np.flatnonzero(numbers == word)) for word in np.unique(numbers)]


def _alone(image: Array, hidden: Array, inside: npt.NDArray[np.bool_]) -> Array:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    shown = np.where(inside[box][..., None], image[box], hidden[box])
    large: Array = resize(shown, image.shape, order=1, preserve_range=True, anti_aliasing=True)
    return large.astype(image.dtype)


def _standardised(block: Floats) -> Floats:
    spread = block.std(axis=0)
    standardised: Floats = (block - block.mean(axis=0)) / np.where(spread > 1e-12, spread, 1)
    return standardised


def _kmeans(rows: Floats, count: int) -> Rows:
    """The cluster of each row `intp[N]`, from the run with the smallest sum of squares."""

    def run(seed: int) -> tuple[float, Rows]:
        with warnings.catch_warnings():
            # An empty cluster only means that there is one word fewer.
            warnings.simplefilter("ignore", UserWarning)
            centres, numbers = kmeans2(rows, count, minit="++", seed=seed)
        return float(((rows - centres[numbers]) ** 2).sum()), numbers

    return min((run(seed) for seed in range(_RUNS)), key=lambda result: result[0])[1]


def _typical_first(rows: Floats, word: Rows) -> Rows:
    distances = np.linalg.norm(rows[word] - rows[word].mean(axis=0), axis=1)
    return word[np.argsort(distances, kind="stable")]
