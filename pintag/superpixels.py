"""Superpixels: an image divided into the segments that an explanation speaks of.

Three algorithms of scikit-image, reached through lime's own wrapper, so that quickshift here is
lime's quickshift whatever the versions of the two.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from lime.wrappers.scikit_image import SegmentationAlgorithm
from pydantic import BeforeValidator, Field

from pintag.config import Strict
from pintag.images import Pixels

Segments = npt.NDArray[np.int32]


class Quickshift(Strict):
    """Mode seeking in colour and place (Vedaldi & Soatto, 2008); the parameters are lime's."""

    algorithm: Literal["quickshift"] = "quickshift"
    kernel_size: float = Field(default=4.0, ge=1, le=20)
    """Width of the Gaussian kernel, in pixels; more makes fewer segments."""
    max_dist: float = Field(default=200.0, gt=0)
    """Cut-off of distances between modes; more makes fewer segments."""
    ratio: float = Field(default=0.2, ge=0, le=1)
    """Colour against place; more follows colours more closely."""


class Slic(Strict):
    """k-means in colour and place (Achanta et al., 2012): compact segments of about one size."""

    algorithm: Literal["slic"] = "slic"
    n_segments: int = Field(default=30, ge=1, le=1000)
    compactness: float = Field(default=10.0, gt=0)
    """Place against colour; more makes squarer segments."""
    sigma: float = Field(default=1.0, ge=0, le=20)
    """Smoothing before, in pixels."""


class Felzenszwalb(Strict):
    """Minimum spanning trees (Felzenszwalb & Huttenlocher, 2004): segments of very unequal size."""

    algorithm: Literal["felzenszwalb"] = "felzenszwalb"
    scale: float = Field(default=200.0, gt=0)
    """More makes larger segments."""
    sigma: float = Field(default=0.8, ge=0, le=20)
    min_size: int = Field(default=200, ge=1)
    """Pixels of the smallest segment."""


ALGORITHMS: dict[str, type[Quickshift | Slic | Felzenszwalb]] = {
    "quickshift": Quickshift,
    "slic": Slic,
    "felzenszwalb": Felzenszwalb,
}


def _named(value: Any) -> Any:
    """An algorithm may be named alone, and be left out where it is quickshift."""
    if isinstance(value, str):
        value = {"algorithm": value}
    if isinstance(value, dict):
        value = {"algorithm": "quickshift"} | value
        if value["algorithm"] not in ALGORITHMS:
            known = ", ".join(ALGORITHMS)
            raise ValueError(f"there is no {value['algorithm']!r}; there are {known}")
    return value


Segmentation = Annotated[
    Quickshift | Slic | Felzenszwalb, Field(discriminator="algorithm"), BeforeValidator(_named)
]


def segment(pixels: Pixels, segmentation: Segmentation, seed: int = 0) -> Segments:
    """Divide `uint8[H,W,3]` into segments 0 to K-1, every one of them present: `int32[H,W]`.

    Args:
        seed: of the algorithms that take one, under the name that lime's wrapper knows.
    """
    parameters = segmentation.model_dump(exclude={"algorithm"})
    found = SegmentationAlgorithm(segmentation.algorithm, **parameters, random_seed=seed)(pixels)
    # SLIC counts from one, and quickshift may leave a number out.
    _, numbered = np.unique(found, return_inverse=True)
    return numbered.reshape(found.shape).astype(np.int32)
