"""Superpixels: the segments of an image; an explanation gives each of them a weight.

Three algorithms of scikit-image, called through lime's wrapper, so that quickshift here equals
lime's quickshift in every version of the two.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from lime.wrappers.scikit_image import SegmentationAlgorithm
from pydantic import BeforeValidator, Field

from pintag.core.config import Strict
from pintag.core.types import Pixels

Segments = npt.NDArray[np.int32]


class Quickshift(Strict):
    """Mode seeking in colour and position (Vedaldi & Soatto, 2008), with lime's parameters."""

    algorithm: Literal["quickshift"] = "quickshift"
    kernel_size: float = Field(default=4.0, ge=1, le=20)
    """Width of the Gaussian kernel in pixels. Larger values give fewer segments."""
    max_dist: float = Field(default=200.0, gt=0)
    """Maximum distance between modes. Larger values give fewer segments."""
    ratio: float = Field(default=0.2, ge=0, le=1)
    """Weight of colour relative to position. Larger values follow colours more closely."""


class Slic(Strict):
    """k-means in colour and position (Achanta et al., 2012): compact segments of similar size."""

    algorithm: Literal["slic"] = "slic"
    n_segments: int = Field(default=30, ge=1, le=1000)
    compactness: float = Field(default=10.0, gt=0)
    """Weight of position relative to colour. Larger values give squarer segments."""
    sigma: float = Field(default=1.0, ge=0, le=20)
    """Width of the Gaussian smoothing before the segmentation, in pixels."""


class Felzenszwalb(Strict):
    """Minimum spanning trees (Felzenszwalb & Huttenlocher, 2004): segments of unequal sizes."""

    algorithm: Literal["felzenszwalb"] = "felzenszwalb"
    scale: float = Field(default=200.0, gt=0)
    """Larger values give larger segments."""
    sigma: float = Field(default=0.8, ge=0, le=20)
    min_size: int = Field(default=200, ge=1)
    """Minimum size of a segment, in pixels."""


ALGORITHMS: dict[str, type[Quickshift | Slic | Felzenszwalb]] = {
    "quickshift": Quickshift,
    "slic": Slic,
    "felzenszwalb": Felzenszwalb,
}


def _named(value: Any) -> Any:
    """Accept the name of an algorithm alone, and quickshift's parameters without its name."""
    if isinstance(value, str):
        value = {"algorithm": value}
    if isinstance(value, dict):
        value = {"algorithm": "quickshift"} | value
        if value["algorithm"] not in ALGORITHMS:
            known = ", ".join(ALGORITHMS)
            raise ValueError(f"unknown algorithm {value['algorithm']!r}; choose one of {known}")
    return value


Segmentation = Annotated[
    Quickshift | Slic | Felzenszwalb, Field(discriminator="algorithm"), BeforeValidator(_named)
]


def segment(pixels: Pixels, segmentation: Segmentation, seed: int = 0) -> Segments:
    """Divide `uint8[H,W,3]` into segments 0 to K-1 without gaps in the numbers: `int32[H,W]`.

    Args:
        seed: for the algorithms that use one; lime's wrapper ignores it for the others.
    """
    parameters = segmentation.model_dump(exclude={"algorithm"})
    labelled = SegmentationAlgorithm(segmentation.algorithm, **parameters, random_seed=seed)(pixels)
    # SLIC starts at one, and quickshift may skip numbers.
    _, numbered = np.unique(labelled, return_inverse=True)
    return numbered.reshape(labelled.shape).astype(np.int32)
