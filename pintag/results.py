"""What a study found, as two documents: figures, equal for equal studies, and seconds.

`results.json` and `timings.json` of a study's folder; the report is drawn from both.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pintag.config import Strict

Family = Literal["svm", "network", "transfer", "fine_tuned"]


class Figure(Strict):
    """A figure of a test set, with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Bin(Strict):
    """One bin of a calibration diagram: images whose top confidence lies in it."""

    confidence: float
    """Their mean."""
    accuracy: float
    images: int


class Scores(Strict):
    """One model on one split."""

    images: int
    accuracy: Figure
    """Wilson's interval."""
    macro_f1: Figure
    """The bootstrap's, as the next."""
    ece: Figure
    recall: dict[str, Figure]
    """Of each label, the share of its images that are found; Wilson's interval."""
    confusion: list[list[int]]
    """Row the true label, column the predicted one."""
    reliability: list[Bin]
    """Without empty bins."""


class Trial(Strict):
    """One setting that was tried."""

    settings: dict[str, Any]
    """Such as `{"batch_size": 16, "learning_rate": 1e-3}`, or `{"C": 2, "gamma": 0.01}`."""
    training_accuracy: float | None = None
    validation_accuracy: Figure | None = None
    failure: str | None = None
    """Why there are no figures."""


class Entry(Strict):
    """One model of the study: its trials, and the best of them on the test split."""

    name: str
    """Short and unique, such as `mobilenet-0.75`."""
    title: str
    family: Family
    note: str = ""
    """What a reader must know, such as that its weights are random."""
    trials: list[Trial] = Field(default_factory=list)
    chosen: int | None = None
    """The trial of the best validation accuracy, none when all of them failed."""
    history: list[dict[str, Any]] = Field(default_factory=list)
    """Of the chosen trial: `epoch`, `loss`, `accuracy`, `validation_loss`, `validation_accuracy`,
    `phase`; none for an SVM."""
    validation: Scores | None = None
    test: Scores | None = None
    parameters: int | None = None
    """Weights of the whole network; support vectors times pixels for an SVM."""
    bytes: int | None = None
    """Of its weights as a bundle has them."""
    failure: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the chosen trial."""
        return {} if self.chosen is None else self.trials[self.chosen].settings

    @property
    def is_titled(self) -> bool:
        """Whether the title says more than the name."""
        return self.title != self.name


class Pair(Strict):
    """Two models on the same test images (McNemar's exact test)."""

    first: str
    second: str
    only_first: int
    """Images that the first alone has right."""
    only_second: int
    p: float
    differs: bool
    """Whether the test set can tell the two apart."""


class CrossValidation(Strict):
    """One model, fitted and tested fold by fold on the training and validation images."""

    entry: str
    folds: list[Figure]
    """Accuracy of each."""
    mean: Figure
    """With the interval of a t-test over the folds."""
    deviation: float
    confusion: list[list[int]]
    """Of all folds together."""


class Leak(Strict):
    """One picture on two sides of a split."""

    first: str
    """A path below the data set's folder."""
    second: str
    kind: Literal["equal", "similar"]
    distance: int
    """Bits in which the perceptual hashes differ."""
    moved: bool


class Explained(Strict):
    """One picture of the LIME gallery; the picture itself lies in the study's folder."""

    image: str
    label: str
    """The true one."""
    predicted: str
    confidence: float
    picture: str
    """The overlay's file, below the study's folder."""


class Data(Strict):
    """What was learnt from."""

    name: str
    fingerprint: str
    labels: list[str]
    counts: dict[str, dict[str, int]]
    """Split to label to images."""
    synthetic: bool


class Results(Strict):
    """The figures of a study."""

    title: str
    data: Data
    leaks: list[Leak]
    entries: list[Entry]
    pairs: list[Pair]
    """Every two entries that have test figures."""
    cross_validation: list[CrossValidation]
    """Of the networks that the validation split cannot tell from the best on it."""
    explained: list[Explained]
    best: str | None
    """The winner, which is written as a bundle: see `pintag.recommendation` for the rule.

    No SVM, as none can be served.
    """
    config: dict[str, Any]
    """What was asked for; what goes without saying is not repeated."""

    def entry(self, name: str) -> Entry:
        """The entry of this name, which must exist."""
        return next(each for each in self.entries if each.name == name)

    def folds(self, name: str) -> CrossValidation | None:
        """The cross-validation of an entry, if there is one."""
        return next((each for each in self.cross_validation if each.entry == name), None)


class Prediction(Strict):
    """How long one image takes a model."""

    entry: str
    engine: str
    batch: int
    seconds: float = Field(ge=0)
    """Mean wall seconds for an image, decoding not included."""


class Timings(Strict):
    """What a study took, on which machine."""

    machine: str
    stages: dict[str, float]
    """Wall seconds of each stage, in order."""
    features: dict[str, float]
    """Seconds of the one pass of each backbone over all images."""
    training: dict[str, float]
    """Seconds of fitting each entry's chosen trial, features not included."""
    predictions: list[Prediction]
    latency_budget: float
    """Seconds for one image, batch of one."""
    fast_best: str | None
    """The winner among the networks that keep the budget."""
