"""LIME for images: which superpixels carried a prediction.

The explainer is given a predict function and never a model; it knows nothing of files or HTTP.
Two modes: *reference* is lime's own algorithm, to the last digit and faster; *stable* samples until
the most important superpixels are told apart from the rest, and says so where they are not.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from threadpoolctl import ThreadpoolController

from pintag import overlay, perturbation, reference, stable, superpixels
from pintag.config import Strict
from pintag.images import Pixels
from pintag.labels import Labels
from pintag.perturbation import Array, Perturber
from pintag.question import Mode, Question
from pintag.sampling import Predict, Sampler, Stop
from pintag.superpixels import Quickshift, Segmentation, Segments
from pintag.surrogate import Finding, Floats, rank, top

Byte = Annotated[int, Field(ge=0, le=255)]


def _one_of_both(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """One message for what is neither: pydantic has one for each."""
    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError("expected a colour such as [0, 0, 0], or mean") from error


Hide = Annotated[tuple[Byte, Byte, Byte] | Literal["mean"], WrapValidator(_one_of_both)]


class ExplainConfig(Strict):
    """How an explanation is made."""

    mode: Mode = "reference"
    segmentation: Segmentation = Quickshift()
    hide: Hide = (0, 0, 0)
    """What shows in place of a hidden segment: a colour, or each segment's own mean."""
    num_samples: int | None = Field(default=None, ge=2, le=100_000)
    """Images that the model is asked about at most: by default 1,000 in reference mode, and 500 in
    stable mode, which often stops before."""
    num_features: int = Field(default=5, ge=1)
    """Superpixels that are asked for."""
    positive_only: bool = False
    """Whether superpixels are ranked by their weight, or by its magnitude."""
    max_features: int = Field(default=100_000, ge=1)
    """Reference mode: segments in the regression at most, which lime calls `num_features`."""
    level: float = Field(default=0.95, ge=0.5, lt=1)
    """Stable mode: the confidence at which superpixels are told apart."""
    batch_size: int = Field(default=32, ge=1, le=1024)
    seed: int = Field(default=0, ge=0, lt=2**32)

    @classmethod
    def of(cls, question: Question, batch_size: int = 32) -> ExplainConfig:
        """What a question asks, but for the label."""
        return cls(batch_size=batch_size, **question.model_dump(exclude={"label"}))

    @property
    def budget(self) -> int:
        return self.num_samples or (1000 if self.mode == "reference" else 500)


@dataclass(frozen=True)
class Seconds:
    """Wall seconds of each phase."""

    segmentation: float
    sampling: float
    fit: float

    @property
    def total(self) -> float:
        return self.segmentation + self.sampling + self.fit


@dataclass(frozen=True)
class Explanation:
    """Why one label: a weight for each superpixel, and how far to trust it."""

    image: Array = field(repr=False)
    """`uint8[H,W,3]`, or floats."""
    segments: Segments = field(repr=False)
    """`int32[H,W]`, 0 to K-1."""
    finding: Finding
    samples: int
    """Images that the model was asked about."""
    seconds: Seconds
    config: ExplainConfig

    @property
    def weights(self) -> Floats:
        """`float64[K]`: above zero speaks for the label, below against it."""
        return self.finding.surrogate.weights

    def ranking(self) -> list[int]:
        """Every segment, most important first."""
        return rank(self.weights, self.config.positive_only)

    def top(self, count: int | None = None) -> list[int]:
        """The most important segments, `num_features` of them by default; none of weight zero."""
        count = self.config.num_features if count is None else count
        return top(self.weights, count, self.config.positive_only)

    def mask(self, count: int | None = None) -> overlay.Signs:
        """`int8[H,W]`: 1 where a top segment speaks for the label, -1 against it, else 0."""
        return overlay.mask(self.segments, self.weights, self.top(count))

    def overlay(self, count: int | None = None, picture: Pixels | None = None) -> Pixels:
        """The top segments drawn on the image, or on a larger picture of it: `uint8[H,W,3]`.

        Outlines are dashed where stable mode does not claim that a segment is of the top.
        """
        shown = self.image if picture is None else picture
        claimed = self.finding.claimed
        return overlay.show(shown, self.segments, self.weights, self.top(count), claimed)

    def to_json(self, labels: Labels) -> dict[str, Any]:
        """As the command and the server tell it; the segments are `overlay.segment_map`."""
        finding, seconds = self.finding, self.seconds
        stable_mode = self.config.mode == "stable"
        height, width = self.segments.shape
        return {
            "label": labels[finding.label],
            "confidence": finding.confidence,
            "mode": self.config.mode,
            "outcome": finding.outcome,
            "level": self.config.level if stable_mode else None,
            "claimed": finding.claimed,
            "num_features": self.config.num_features,
            "positive_only": self.config.positive_only,
            "samples": self.samples,
            "surrogate": {
                "score": finding.surrogate.score,
                "intercept": finding.surrogate.intercept,
                "prediction": finding.surrogate.prediction,
                "scale": finding.surrogate.scale,
            },
            "segmentation": {
                "algorithm": self.config.segmentation.algorithm,
                "width": width,
                "height": height,
                "count": len(self.weights),
                "map": b64encode(overlay.segment_map(self.segments)).decode(),
            },
            "weights": [self._weight(segment) for segment in self.ranking()],
            "seconds": {**asdict(seconds), "total": seconds.total},
        }

    def _weight(self, segment: int) -> dict[str, Any]:
        intervals = self.finding.surrogate.intervals
        low = high = None
        # JSON has no infinity.
        if intervals is not None and np.isfinite(intervals[segment]).all():
            low, high = map(float, intervals[segment])
        return {
            "segment": segment,
            "weight": float(self.weights[segment]),
            "low": low,
            "high": high,
        }


def explain(
    image: Array,
    predict: Predict,
    label: int | None = None,
    config: ExplainConfig | None = None,
    stop: Stop | None = None,
) -> Explanation:
    """Explain one label of one image.

    Args:
        image: `uint8[H,W,3]`, or floats where `predict` takes floats.
        label: its index; by default the one that the model is most confident of.
        stop: asked before every batch but the first. Once it is true sampling ends, and what is
            known is returned with the outcome `deadline`; whatever it raises is passed on.

    Raises:
        ExplainError: the image has more superpixels than stable mode can tell apart.
        ValueError: the image is no `[H,W,3]`, there is no such label, or the predict function
            answers with something else than finite `float[N,C]`.
    """
    labels = 1 if label is None else [label]
    return explain_labels(image, predict, labels, config, stop)[0]


def explain_labels(
    image: Array,
    predict: Predict,
    labels: Sequence[int] | int,
    config: ExplainConfig | None = None,
    stop: Stop | None = None,
) -> list[Explanation]:
    """Explain several labels by the same samples; see `explain`.

    Args:
        labels: their indices, or how many of the model's most confident ones.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(f"expected an image [H,W,3], got {list(image.shape)}")
    config = config or ExplainConfig()
    # lime draws the seed of its segmentation first, then the samples, from one generator.
    random = np.random.RandomState(config.seed)
    started = time.perf_counter()
    segments = superpixels.segment(image, config.segmentation, int(random.randint(0, 1000)))
    segmented = time.perf_counter()
    hidden = perturbation.background(image, segments, config.hide)
    perturber = Perturber(image, hidden, segments, config.batch_size)
    sampler = Sampler(perturber, predict, config.batch_size, stop, labels)
    # Regressions this small are over before a second thread has begun, and on a busy machine all of
    # them would wait for it.
    with _blas().limit(limits=1, user_api="blas"):
        findings = _find(sampler, random, config)
    rest = time.perf_counter() - segmented
    seconds = Seconds(segmented - started, sampler.seconds, rest - sampler.seconds)
    return [
        Explanation(image, segments, finding, sampler.count, seconds, config)
        for finding in findings
    ]


@cache
def _blas() -> ThreadpoolController:
    """Looks through every library that is loaded: once."""
    return ThreadpoolController()


def _find(sampler: Sampler, random: np.random.RandomState, config: ExplainConfig) -> list[Finding]:
    budget = config.budget
    if config.mode == "reference":
        return reference.find(sampler, random, budget=budget, max_features=config.max_features)
    goal = stable.Goal(config.num_features, config.level, config.positive_only)
    generator = np.random.default_rng(config.seed)
    return stable.find(sampler, generator, budget=budget, goal=goal)
