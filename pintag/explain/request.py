"""The parameters of an explanation, which the command line and the HTTP API share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pintag.core.config import Strict

Mode = Literal["reference", "stable"]
Algorithm = Literal["quickshift", "slic", "felzenszwalb"]


class ExplanationRequest(Strict):
    """The parameters of an explanation. Equal parameters give equal answers."""

    label: str | None = Field(
        default=None, description="the label to explain; default: the most confident one"
    )
    num_features: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="number of most important superpixels to identify and draw",
    )
    num_samples: int | None = Field(
        default=None,
        ge=2,
        description="maximum number of samples; default: 1,000 in reference mode, 500 in stable "
        "mode; a server has its own limit, usually 5,000",
    )
    mode: Mode = Field(
        default="reference",
        description="`reference` is plain LIME; `stable` also reports which ranks are reliable",
    )
    segmentation: Algorithm = "quickshift"
    positive_only: bool = Field(
        default=False,
        description="rank superpixels by weight, not by its magnitude, and draw only evidence for "
        "the label; the answer contains all weights anyway",
    )
    seed: int = Field(default=0, ge=0, lt=2**32)
