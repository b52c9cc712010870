"""The JSON of an explanation: one schema for the server, the command line and saved files.

Only the numbers are stored. The sentences (`summary`) are computed from the numbers, so the two
cannot contradict each other. Files of version 0.1 have no sentences and can be read as well.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, computed_field

from pintag.explain import summaries
from pintag.explain.request import Mode
from pintag.explain.surrogate import Scale, StopReason
from pintag.models.identity import Model

Direction = Literal["for", "against", "either"]


class SurrogateItem(BaseModel):
    """The linear model that was fitted around the image."""

    score: float = Field(examples=[0.81], description="R² on the samples it was fitted to")
    intercept: float = Field(examples=[-3.2])
    prediction: float = Field(examples=[0.97], description="the confidence it gives the image")
    scale: Scale = Field(examples=["log-odds"], description="the unit of weights and intercept")


class SegmentationItem(BaseModel):
    """The superpixels."""

    algorithm: str = Field(examples=["quickshift"])
    width: int = Field(examples=[160])
    height: int = Field(examples=[160])
    count: int = Field(examples=[22])
    map: str = Field(
        description="an RGB PNG in base64, of the image squeezed to the network's input: "
        "a pixel's segment is R + 256 G + 65536 B"
    )


class WeightItem(BaseModel):
    """The weight of one superpixel."""

    segment: int = Field(examples=[7])
    weight: float = Field(examples=[1.9], description="positive: evidence for the label")
    low: float | None = Field(
        examples=[1.5], description="lower end of the interval; null when it is unknown"
    )
    high: float | None = Field(
        examples=[2.3], description="upper end of the interval; null when it is unknown"
    )

    @computed_field(  # type: ignore[prop-decorator]
        description="whether the superpixel is evidence `for` or `against` the label; `either` "
        "when the interval contains zero",
        examples=["for"],
    )
    @property
    def direction(self) -> Direction:
        """The sign of the weight; `either` if the interval contains zero."""
        uncertain = self.low is not None and self.high is not None and self.low < 0 < self.high
        if uncertain or self.weight == 0:
            return "either"
        return "for" if self.weight > 0 else "against"


class SecondsItem(BaseModel):
    """Wall seconds of each phase."""

    segmentation: float
    sampling: float
    fit: float
    total: float


class SummaryItem(BaseModel):
    """What the numbers of an explanation mean, in English sentences."""

    claim: str = Field(
        examples=[
            "After 449 samples, the first 5 superpixels rank above the rest at 95% confidence."
        ],
        description="how reliable the order of the superpixels is",
    )
    fit: str = Field(
        examples=["The surrogate follows the model closely around this image (R² = 0.81)."],
        description="how well the surrogate, the source of the weights, follows the model",
    )


class ExplanationAnswer(BaseModel):
    """The explanation of one label of one image."""

    model: Model
    label: str = Field(examples=["houses"])
    confidence: float = Field(examples=[0.93])
    mode: Mode = Field(examples=["stable"])
    outcome: StopReason = Field(
        examples=["budget"],
        description="`separated`: the requested superpixels rank above the rest; "
        "`budget`: no more samples fit into `num_samples`; "
        "`deadline`: the time limit ended the sampling",
    )
    level: float | None = Field(
        examples=[0.95], description="the confidence level of intervals and claims"
    )
    claimed: int | None = Field(
        examples=[3], description="how many of the first superpixels rank above the rest"
    )
    num_features: int = Field(examples=[5])
    positive_only: bool = Field(
        examples=[False], description="whether superpixels are ranked by weight, not its magnitude"
    )
    samples: int = Field(examples=[449], description="images that the model predicted")
    surrogate: SurrogateItem
    segmentation: SegmentationItem
    weights: list[WeightItem] = Field(description="every superpixel, most important first")
    seconds: SecondsItem

    @computed_field  # type: ignore[prop-decorator]
    @property
    def summary(self) -> SummaryItem:
        """The explanation in words."""
        return SummaryItem(
            claim=summaries.claim(
                self.mode,
                self.outcome,
                self.samples,
                self.level,
                self.separated_count,
                self.segmentation.count,
            ),
            fit=summaries.fit(self.surrogate.score, self.samples, self.segmentation.count),
        )

    @property
    def drawn(self) -> list[WeightItem]:
        """The superpixels that pictures show, most important first."""

        def height(item: WeightItem) -> float:
            return item.weight if self.positive_only else abs(item.weight)

        ranked = sorted(self.weights, key=height, reverse=True)
        return [item for item in ranked if item.weight and height(item) > 0][: self.num_features]

    @property
    def separated_count(self) -> int | None:
        """How many of the first superpixels rank above all others; None in reference mode."""
        if self.outcome == "separated":
            return min(self.num_features, len(self.weights))
        return self.claimed
