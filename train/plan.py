"""What a study compares: its configuration, and the settings that are tried of each model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pintag import backbones
from pintag.bundle import Name
from pintag.config import Strict
from pintag.results import Family
from train.config import SvmConfig, TrainConfig


class GridConfig(Strict):
    """Settings of the head that are tried, each with each; none: those of the model."""

    batch_size: tuple[int, ...] = ()
    learning_rate: tuple[float, ...] = ()


class ModelConfig(Strict):
    """One network of the comparison."""

    name: Name
    title: str = ""
    note: str = ""
    """What a reader of the report must know."""
    train: TrainConfig = TrainConfig()
    grid: GridConfig = GridConfig()

    @model_validator(mode="after")
    def _fine_tuned_as_it_is(self) -> Self:
        if self.train.fine_tune.epochs and self.grid != GridConfig():
            raise ValueError("a model that is fine-tuned has no grid: it is fitted as it is")
        return self


class SvmStudyConfig(Strict):
    """The support vector machine of the comparison."""

    enabled: bool = True
    settings: tuple[SvmConfig, ...] = Field(default=(SvmConfig(),), min_length=1)


class CrossValidationConfig(Strict):
    """The best model, fitted again fold by fold on all images."""

    folds: int = Field(default=10, ge=0)
    """Zero does without; three at least, since one is tested on and one chosen by."""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.folds in (1, 2):
            raise ValueError("folds: 0, or 3 at least")
        return self


class GalleryConfig(Strict):
    """Explanations of the best model's answers."""

    per_label: int = Field(default=1, ge=0)
    mode: Literal["reference", "stable"] = "stable"
    num_features: int = Field(default=5, ge=1)


class ResourcesConfig(Strict):
    """What one trial of Ray Tune is given."""

    cpus: float = Field(default=1.0, gt=0)
    gpus: float = Field(default=0.0, ge=0)


class StudyConfig(Strict):
    """One comparison of models on a data set."""

    title: str = "Which model to serve"
    svm: SvmStudyConfig = SvmStudyConfig()
    models: tuple[ModelConfig, ...] = Field(min_length=1)
    cross_validation: CrossValidationConfig = CrossValidationConfig()
    gallery: GalleryConfig = GalleryConfig()
    latency_budget: float = Field(default=0.02, gt=0)
    """Seconds that one image may take, batch of one, for the report's second recommendation."""
    trial: ResourcesConfig = ResourcesConfig()
    seed: int = Field(default=0, ge=0)
    """Divides a data set without splits."""
    cache_dir: Path | None = None
    """Where features are kept between studies."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [SVM, *(model.name for model in self.models)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"models: the name {min(twice)!r} is taken twice")
        return self


SVM = "svm"


@dataclass(frozen=True)
class Candidate:
    """One model and the settings of it that are tried."""

    name: str
    title: str
    family: Family
    note: str
    settings: tuple[dict[str, Any], ...]
    learners: tuple[SvmConfig | TrainConfig, ...]
    """One for each of the settings."""

    def trial(self, number: int) -> str:
        """The name of its trial of these settings."""
        return f"{self.name}.{number}"


def candidates(config: StudyConfig) -> list[Candidate]:
    """All that is compared, in the order of the report."""
    found = [_svm(config.svm.settings)] if config.svm.enabled else []
    return found + [_network(model) for model in config.models]


def _svm(settings: Sequence[SvmConfig]) -> Candidate:
    size = settings[0].input_size
    shown = tuple(each.model_dump(include={"C", "gamma"}) for each in settings)
    title = f"SVM, RBF kernel, {size}x{size} grey"
    return Candidate(SVM, title, "svm", "", shown, tuple(settings))


def _network(model: ModelConfig) -> Candidate:
    tried = list(_tried(model))
    transfer = model.train.network_spec(2).is_transfer
    family: Family = "transfer" if transfer else "network"
    if transfer and model.train.fine_tune.epochs:
        family = "fine_tuned"
    note = model.note
    if transfer and model.train.backbone.weights == backbones.NONE:
        note = " ".join(("The backbone's weights are random: the figures say nothing.", note))
    return Candidate(
        model.name,
        model.title or model.name,
        family,
        note.strip(),
        tuple(settings for settings, _ in tried),
        tuple(learner for _, learner in tried),
    )


def _tried(model: ModelConfig) -> Iterator[tuple[dict[str, Any], TrainConfig]]:
    head = model.train.head
    sizes = model.grid.batch_size or (head.batch_size,)
    rates = model.grid.learning_rate or (head.learning_rate,)
    for batch_size, learning_rate in product(sizes, rates):
        settings = {"batch_size": batch_size, "learning_rate": learning_rate}
        changed = head.model_validate(head.model_dump() | settings)
        learner = model.train.model_copy(update={"head": changed, "name": model.name})
        yield settings, learner.located()
