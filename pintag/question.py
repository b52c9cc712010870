"""What is asked about an image, by command or over HTTP, in the same words."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pintag.config import Strict

Mode = Literal["reference", "stable"]
Algorithm = Literal["quickshift", "slic", "felzenszwalb"]


class Question(Strict):
    """The parameters of an explanation; equal ones have equal answers."""

    label: str | None = Field(default=None, description="by default the most confident one")
    num_features: int = Field(default=5, ge=1, le=1000, description="superpixels asked for")
    num_samples: int | None = Field(
        default=None,
        ge=2,
        description="at most so many, and no more than the server's own limit, by default 5,000; "
        "by default 1,000 in reference and 500 in stable mode",
    )
    mode: Mode = Field(
        default="reference",
        description="`reference` is plain LIME; `stable` says how far its answer is to be trusted",
    )
    segmentation: Algorithm = "quickshift"
    positive_only: bool = Field(
        default=False,
        description="rank by weight and not by its magnitude, and draw only what speaks for the "
        "label; every weight is told all the same",
    )
    seed: int = Field(default=0, ge=0, lt=2**32)
