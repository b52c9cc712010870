"""LIME for images: which superpixels are the evidence for a prediction.

The explainer receives a predict function, not a model, and does not depend on files or HTTP.
It has two modes. *reference* gives the same results as the library lime, but faster. *stable*
samples until the most important superpixels rank above the rest with statistical confidence, and
reports how many of them do.
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

from pintag.core.config import Strict
from pintag.core.types import Array, Floats, Pixels
from pintag.data.labels import Labels
from pintag.explain import overlay, perturbation, reference, stable, superpixels
from pintag.explain.perturbation import Perturber
from pintag.explain.request import ExplanationRequest, Mode
from pintag.explain.sampling import Predict, Sampler, Stop
from pintag.explain.schema import (
    ExplanationAnswer,
    SecondsItem,
    SegmentationItem,
    SurrogateItem,
    WeightItem,
)
from pintag.explain.superpixels import Quickshift, Segmentation, Segments
from pintag.explain.surrogate import LabelExplanation, rank, top
from pintag.models.identity import Model

Byte = Annotated[int, Field(ge=0, le=255)]


def _colour_or_mean(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Validate a union with one error message; pydantic would report one for each member."""
    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError("expected a colour such as [0, 0, 0], or mean") from error


Hide = Annotated[tuple[Byte, Byte, Byte] | Literal["mean"], WrapValidator(_colour_or_mean)]


class ExplainConfig(Strict):
    """The settings of an explanation."""

    mode: Mode = "reference"
    segmentation: Segmentation = Quickshift()
    hide: Hide = (0, 0, 0)
    """What replaces a hidden segment: a colour, or the mean colour of the segment itself."""
    num_samples: int | None = Field(default=None, ge=2, le=100_000)
    """Maximum number of images that the model predicts. Default: 1,000 in reference mode, 500 in
    stable mode, which may stop earlier."""
    num_features: int = Field(default=5, ge=1)
    """Number of most important superpixels to identify and to draw."""
    positive_only: bool = False
    """True: rank superpixels by weight. False: rank them by the magnitude of the weight."""
    max_features: int = Field(default=100_000, ge=1)
    """Reference mode: maximum number of segments in the regression. lime calls it
    `num_features`."""
    level: float = Field(default=0.95, ge=0.5, lt=1)
    """Stable mode: the confidence level of the intervals and of the ranking."""
    batch_size: int = Field(default=32, ge=1, le=1024)
    seed: int = Field(default=0, ge=0, lt=2**32)

    @classmethod
    def from_request(cls, request: ExplanationRequest, batch_size: int = 32) -> ExplainConfig:
        """The settings of a request, without its label."""
        return cls(batch_size=batch_size, **request.model_dump(exclude={"label"}))

    @property
    def budget(self) -> int:
        """Maximum number of samples: `num_samples`, or the default of the mode."""
        return self.num_samples or (1000 if self.mode == "reference" else 500)


@dataclass(frozen=True)
class PhaseSeconds:
    """Wall seconds of each phase."""

    segmentation: float
    sampling: float
    fit: float

    @property
    def total(self) -> float:
        return self.segmentation + self.sampling + self.fit


@dataclass(frozen=True)
class Explanation:
    """The weights of all superpixels for one label of one image."""

    image: Array = field(repr=False)
    """`uint8[H,W,3]`, or `float[H,W,3]` if `explain` received that."""
    segments: Segments = field(repr=False)
    """`int32[H,W]`: the segment of each pixel, 0 to K-1."""
    result: LabelExplanation
    samples: int
    """Number of images that the model predicted."""
    seconds: PhaseSeconds
    config: ExplainConfig

    @property
    def weights(self) -> Floats:
        """`float64[K]`: positive is evidence for the label, negative is evidence against it."""
        return self.result.surrogate.weights

    def ranking(self) -> list[int]:
        """All segments, most important first."""
        return rank(self.weights, self.config.positive_only)

    def top(self, count: int | None = None) -> list[int]:
        """The `count` most important segments (default: `num_features`), without zero weights."""
        count = self.config.num_features if count is None else count
        return top(self.weights, count, self.config.positive_only)

    def mask(self, count: int | None = None) -> overlay.Signs:
        """`int8[H,W]`: 1 in top segments for the label, -1 in those against it, 0 elsewhere."""
        return overlay.mask(self.segments, self.weights, self.top(count))

    def overlay(self, count: int | None = None, picture: Pixels | None = None) -> Pixels:
        """Draw the top segments on the image, or on a larger `picture` of it: `uint8[H,W,3]`.

        Each has its rank and weight, unless the picture is too small for text. Segments that
        stable mode cannot rank above the rest are pale, with dashed outlines.
        """
        shown = self.image if picture is None else picture
        scale = self.result.surrogate.scale
        return overlay.show(shown, self.segments, self.drawn(count), scale, self.result.claimed)

    def drawn(self, count: int | None = None) -> list[WeightItem]:
        """The segments that `overlay` draws, most important first."""
        return [self._weight_item(segment) for segment in self.top(count)]

    def to_answer(self, labels: Labels, model: Model) -> ExplanationAnswer:
        """The explanation as the command line and the server return it.

        Args:
            labels: the names of the model's labels.
            model: the model that was explained.
        """
        result = self.result
        seconds = SecondsItem(**asdict(self.seconds), total=self.seconds.total)
        return ExplanationAnswer(
            model=model,
            label=labels[result.label],
            confidence=result.confidence,
            mode=self.config.mode,
            outcome=result.outcome,
            level=self.config.level if self.config.mode == "stable" else None,
            claimed=result.claimed,
            num_features=self.config.num_features,
            positive_only=self.config.positive_only,
            samples=self.samples,
            surrogate=SurrogateItem(
                score=result.surrogate.score,
                intercept=result.surrogate.intercept,
                prediction=result.surrogate.prediction,
                scale=result.surrogate.scale,
            ),
            segmentation=self._segmentation_item(),
            weights=[self._weight_item(segment) for segment in self.ranking()],
            seconds=seconds,
        )

    def _segmentation_item(self) -> SegmentationItem:
        height, width = self.segments.shape
        return SegmentationItem(
            algorithm=self.config.segmentation.algorithm,
            width=width,
            height=height,
            count=len(self.weights),
            map=b64encode(overlay.segment_map(self.segments)).decode(),
        )

    def _weight_item(self, segment: int) -> WeightItem:
        intervals = self.result.surrogate.intervals
        low = high = None
        # JSON has no infinity.
        if intervals is not None and np.isfinite(intervals[segment]).all():
            low, high = map(float, intervals[segment])
        return WeightItem(segment=segment, weight=float(self.weights[segment]), low=low, high=high)


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
        predict: takes `[N,H,W,3]` of the image's dtype and returns `float[N,C]`.
        label: the index of the label. Default: the model's most confident label.
        stop: called before every batch except the first. When it returns True, sampling ends and
            the result so far is returned with the outcome `deadline`. Its exceptions propagate.

    Raises:
        ExplainError: the image has more superpixels than stable mode supports.
        ValueError: the shape of the image is not `[H,W,3]`, the label does not exist, or `predict`
            did not return finite `float[N,C]`.
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
    """Explain several labels with the same samples; see `explain`.

    Args:
        labels: the indices of the labels, or the number of most confident labels to explain.
    """
    image = _checked(image)
    config = config or ExplainConfig()
    # lime draws the seed of its segmentation first, then the samples, from one generator.
    random = np.random.RandomState(config.seed)
    started = time.perf_counter()
    segments = superpixels.segment(image, config.segmentation, int(random.randint(0, 1000)))
    segmented = time.perf_counter()
    hidden = perturbation.background(image, segments, config.hide)
    perturber = Perturber(image, hidden, segments, config.batch_size)
    sampler = Sampler(perturber, predict, config.batch_size, stop, labels)
    # Regressions this small end before a second thread starts. On a busy machine every one of them
    # would wait for that thread.
    with _blas().limit(limits=1, user_api="blas"):
        results = _explain_labels(sampler, random, config)
    rest = time.perf_counter() - segmented
    seconds = PhaseSeconds(segmented - started, sampler.seconds, rest - sampler.seconds)
    return [
        Explanation(image, segments, result, sampler.count, seconds, config) for result in results
    ]


def _checked(image: Array) -> Array:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(f"expected an image [H,W,3], got {list(image.shape)}")
    return image


@cache
def _blas() -> ThreadpoolController:
    """Cached, because the constructor inspects every loaded library."""
    return ThreadpoolController()


def _explain_labels(
    sampler: Sampler, random: np.random.RandomState, config: ExplainConfig
) -> list[LabelExplanation]:
    budget = config.budget
    if config.mode == "reference":
        return reference.find(sampler, random, budget=budget, max_features=config.max_features)
    goal = stable.Goal(config.num_features, config.level, config.positive_only)
    generator = np.random.default_rng(config.seed)
    return stable.find(sampler, generator, budget=budget, goal=goal)
