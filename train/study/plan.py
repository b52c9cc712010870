"""The configuration of a study, and the models and settings that it compares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pintag.core.config import Strict
from pintag.models import backbones
from pintag.models.manifest import ModelName
from pintag.report.results import Family
from pintag.train.config import Seed, SvmConfig, TrainConfig


class GridConfig(Strict):
    """Settings of the head; all combinations are tried. An empty list: use the value in `train`."""

    batch_size: tuple[int, ...] = ()
    """Batch sizes to try."""
    learning_rate: tuple[float, ...] = ()
    """Learning rates to try."""


class ModelConfig(Strict):
    """One network of the comparison."""

    name: ModelName
    """The name in results, figures and files."""
    title: str = ""
    """The name in the report; by default `name`."""
    note: str = ""
    """A note on the model for readers of the report."""
    train: TrainConfig = TrainConfig()
    grid: GridConfig = GridConfig()

    @model_validator(mode="after")
    def _check_grid(self) -> Self:
        if self.train.fine_tune.epochs and self.grid != GridConfig():
            raise ValueError(
                "a fine-tuned model cannot have a grid; remove grid, or set fine_tune.epochs=0"
            )
        return self


class SvmStudyConfig(Strict):
    """The support vector machine of the comparison."""

    enabled: bool = True
    """Whether the support vector machine is compared."""
    settings: tuple[SvmConfig, ...] = Field(default=(SvmConfig(),), min_length=1)


class CrossValidationConfig(Strict):
    """Cross-validation of the best models, on the training and validation images."""

    folds: int = Field(default=10, ge=0)
    """0: no cross-validation. Otherwise at least 3: for training, validation and testing."""
    seed: Seed = 0
    """Seed of the division into folds."""

    @model_validator(mode="after")
    def _check_folds(self) -> Self:
        if self.folds in (1, 2):
            raise ValueError("folds: give 0, or at least 3")
        return self


class GalleryConfig(Strict):
    """Explanations of the winner's predictions."""

    per_label: int = Field(default=1, ge=0)
    """Explained test images of each label; 0 disables explanations."""
    mode: Literal["reference", "stable"] = "stable"
    """The mode of the explanations."""
    num_features: int = Field(default=5, ge=1)
    """Number of superpixels to show."""


class ResourcesConfig(Strict):
    """The resources of one Ray Tune trial."""

    cpus: float = Field(default=1.0, gt=0)
    """Processor cores."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs."""


class StudyConfig(Strict):
    """A comparison of models on one data set."""

    title: str = "Which model to serve"
    """The title of the report."""
    svm: SvmStudyConfig = SvmStudyConfig()
    models: tuple[ModelConfig, ...] = Field(min_length=1)
    cross_validation: CrossValidationConfig = CrossValidationConfig()
    gallery: GalleryConfig = GalleryConfig()
    latency_budget: float = Field(default=0.02, gt=0)
    """Seconds per image with a batch size of 1. The report also names the best model within it."""
    trial: ResourcesConfig = ResourcesConfig()
    seed: Seed = 0
    """The seed for dividing a data set that has no splits."""
    cache_dir: Path | None = None
    """The folder of cached features, which later studies reuse."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [SVM, *(model.name for model in self.models)]
        if duplicates := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"models: the name {min(duplicates)!r} is used twice")
        return self


SVM = "svm"
# Keys of the configuration that may differ when a study is resumed.
CHANGEABLE = {"trial", "cache_dir"}


@dataclass(frozen=True)
class ComparedModel:
    """One model and the settings that are tried for it."""

    name: str
    title: str
    family: Family
    note: str
    settings: tuple[dict[str, Any], ...]
    learners: tuple[SvmConfig | TrainConfig, ...]
    """The configuration for each of the settings."""

    def trial_name(self, number: int) -> str:
        """Return the name of the trial of the settings `number`."""
        return f"{self.name}.{number}"


def compared_models(config: StudyConfig) -> list[ComparedModel]:
    """Return all models of a study, in the order of the report."""
    models = [_svm(config.svm.settings)] if config.svm.enabled else []
    return models + [_network(model) for model in config.models]


def _svm(settings: Sequence[SvmConfig]) -> ComparedModel:
    size = settings[0].input_size
    shown = tuple(setting.model_dump(include={"C", "gamma"}) for setting in settings)
    title = f"SVM, RBF kernel, {size}x{size} grey"
    return ComparedModel(SVM, title, "svm", "", shown, tuple(settings))


def _network(model: ModelConfig) -> ComparedModel:
    tried = list(_grid(model))
    transfer = model.train.network_spec(2).is_transfer
    family: Family = "transfer" if transfer else "network"
    if transfer and model.train.fine_tune.epochs:
        family = "fine_tuned"
    note = model.note
    if transfer and model.train.backbone.weights == backbones.NONE:
        note = " ".join(
            ("The backbone's weights are random, so the figures are meaningless.", note)
        )
    return ComparedModel(
        model.name,
        model.title or model.name,
        family,
        note.strip(),
        tuple(settings for settings, _ in tried),
        tuple(learner for _, learner in tried),
    )


def _grid(model: ModelConfig) -> Iterator[tuple[dict[str, Any], TrainConfig]]:
    """Yield all settings of a model, each with its configuration."""
    head = model.train.head
    sizes = model.grid.batch_size or (head.batch_size,)
    rates = model.grid.learning_rate or (head.learning_rate,)
    for batch_size, learning_rate in product(sizes, rates):
        settings = {"batch_size": batch_size, "learning_rate": learning_rate}
        changed = head.model_validate(head.model_dump() | settings)
        learner = model.train.model_copy(update={"head": changed, "name": model.name})
        yield settings, learner.with_absolute_paths()
