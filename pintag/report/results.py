"""The stored results of a study: `results.json` has its scores, `timings.json` its times.

A report is made from both files. Equal studies have equal scores, but different times. The fields
have the names of the keys in the files, which version 0.1 chose: an `entry` is a model.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pintag.core.config import Strict

Family = Literal["svm", "network", "transfer", "fine_tuned"]


class IntervalFigure(Strict):
    """A score on a set of images, with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class ReliabilityBin(Strict):
    """One bin of a reliability diagram: the images whose top confidence lies in it."""

    confidence: float
    """The mean of the top confidences."""
    accuracy: float
    images: int


class Scores(Strict):
    """The scores of one model on one split."""

    images: int
    accuracy: IntervalFigure
    """With a Wilson interval."""
    macro_f1: IntervalFigure
    """With a bootstrap interval."""
    ece: IntervalFigure
    """The expected calibration error, with a bootstrap interval."""
    recall: dict[str, IntervalFigure]
    """The recall of each label that has images, with a Wilson interval."""
    confusion: list[list[int]]
    """Counts of images: rows are true labels, columns are predicted labels."""
    reliability: list[ReliabilityBin]
    """The bins that have images."""


class ReportedTrial(Strict):
    """One setting of a model that was tried."""

    settings: dict[str, Any]
    """For example `{"batch_size": 16, "learning_rate": 1e-3}`, or `{"C": 2, "gamma": 0.01}`."""
    training_accuracy: float | None = None
    validation_accuracy: IntervalFigure | None = None
    failure: str | None = None
    """The reason why the trial has no figures."""


class ModelResult(Strict):
    """One model of a study: its trials, and the figures of the chosen one."""

    name: str
    """Short and unique, such as `mobilenet-0.75`."""
    title: str
    family: Family
    note: str = ""
    """A remark that readers need, such as that its weights are random."""
    trials: list[ReportedTrial] = Field(default_factory=list)
    chosen: int | None = None
    """The index of the trial with the best validation accuracy; None if all trials failed."""
    history: list[dict[str, Any]] = Field(default_factory=list)
    """A row for each epoch of the chosen trial: `epoch`, `loss`, `accuracy`, `validation_loss`,
    `validation_accuracy` and `phase`; empty for a support vector machine."""
    validation: Scores | None = None
    test: Scores | None = None
    parameters: int | None = None
    """Weights of the network, or support vectors times pixels of a support vector machine."""
    bytes: int | None = None
    """The size of the weights in a bundle."""
    failure: str | None = None
    """The reason why the model has no figures: none of its trials succeeded."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the chosen trial."""
        return {} if self.chosen is None else self.trials[self.chosen].settings

    @property
    def has_title(self) -> bool:
        """Whether the title differs from the name."""
        return self.title != self.name


class ModelPair(Strict):
    """Two models on the same test images (McNemar's exact test)."""

    first: str
    second: str
    only_first: int
    """Images that only the first model classifies correctly."""
    only_second: int
    p: float
    """The probability of at least this difference between two equally good models."""
    differs: bool
    """Whether the difference is significant: p < 0.05."""


class CrossValidation(Strict):
    """One model, fitted and tested fold by fold on the training and validation images."""

    entry: str
    """The name of the model."""
    folds: list[IntervalFigure]
    """The accuracy of each fold."""
    mean: IntervalFigure
    """The mean accuracy, with the interval of a t-test over the folds."""
    deviation: float
    """The standard deviation of the accuracies."""
    confusion: list[list[int]]
    """The confusion matrix of all folds together."""


class ReportedLeak(Strict):
    """The same image in two splits."""

    first: str
    """A path below the data set's folder."""
    second: str
    kind: Literal["equal", "similar"]
    distance: int
    """Number of bits in which the perceptual hashes differ."""
    moved: bool
    """Whether the second image was moved to the split of the first."""


class ExplainedImage(Strict):
    """The explanation of one answer of the winner; its pictures are files of the study."""

    image: str
    """The path of the image below the data set."""
    label: str
    """The true label."""
    predicted: str
    confidence: float
    picture: str
    """The path of the overlay, below the study's folder."""
    original: str | None = None
    """The path of the image without the overlay, below the study's folder; None in studies of 0.1,
    which did not store it."""


class DataSummary(Strict):
    """The data set of a study."""

    name: str
    fingerprint: str
    labels: list[str]
    counts: dict[str, dict[str, int]]
    """The number of images by split and label."""
    synthetic: bool


class Results(Strict):
    """The figures of a study."""

    title: str
    data: DataSummary
    leaks: list[ReportedLeak]
    entries: list[ModelResult]
    pairs: list[ModelPair]
    """Every two models that have figures on the test split."""
    cross_validation: list[CrossValidation]
    """The cross-validation of the networks that do not differ significantly from the best one on
    the validation split."""
    explained: list[ExplainedImage]
    best: str | None
    """The name of the winner, whose bundle the study wrote; `pintag.report.recommendation` has the
    rule. It is never a support vector machine, which cannot be served."""
    config: dict[str, Any]
    """The configuration of the study, without the settings that have their default."""

    @property
    def fitted(self) -> list[ModelResult]:
        """The models that did not fail."""
        return [model for model in self.entries if model.failure is None]

    def model(self, name: str) -> ModelResult:
        """The model of this name, which must exist."""
        return next(model for model in self.entries if model.name == name)

    def cross_validation_of(self, name: str) -> CrossValidation | None:
        """The cross-validation of a model, if there is one."""
        return next((result for result in self.cross_validation if result.entry == name), None)


class PredictionTime(Strict):
    """The prediction time of one model with one engine and batch size."""

    entry: str
    """The name of the model."""
    engine: str
    batch: int
    seconds: float = Field(ge=0)
    """Mean wall seconds for one image, without its decoding."""


class Timings(Strict):
    """The times of a study, and the machine that they were measured on."""

    machine: str
    stages: dict[str, float]
    """Wall seconds of each stage, in the order of the stages."""
    features: dict[str, float]
    """Seconds that each backbone took to compute the features of all images."""
    training: dict[str, float]
    """Seconds that the chosen trial of each model took, without the computation of features."""
    predictions: list[PredictionTime]
    latency_budget: float
    """The limit of the prediction time in seconds, for one image in a batch of one."""
    fast_best: str | None
    """The name of the winner among the networks within the latency budget, if there is one."""
