"""The configuration of one training run. Its keys are a public interface."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pintag.core.config import Strict
from pintag.models import backbones, networks
from pintag.models.manifest import ModelName
from pintag.models.networks import NetworkSpec, Width

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""A seed of NumPy and Keras."""


class BackboneConfig(Strict):
    """The backbone network and its initial weights."""

    name: str = "mobilenet"
    """The backbone, or a network without one: `basic_cnn`, `basic_ann`."""
    alpha: float = Field(default=1.0, gt=0, le=4)
    """The width multiplier. Only MobileNet has one."""
    weights: str = backbones.IMAGENET
    """`imagenet`, `none`, or the path of a Keras weights file."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name not in networks.NAMES:
            raise ValueError(f"unknown backbone; choose one of {', '.join(networks.NAMES)}")
        return name


class PhaseConfig(Strict):
    """The settings that both phases have."""

    learning_rate: float = Field(gt=0)
    """The learning rate of Adam; the first one of a cosine schedule."""
    schedule: Literal["constant", "cosine"] = "constant"
    """`cosine`: the learning rate falls to zero over the epochs, and the weights of the last epoch
    are kept instead of those of the epoch with the best validation accuracy."""
    batch_size: int = Field(default=32, ge=1)
    """Images per step, over all workers together. The result does not depend on their number."""
    epochs: int
    """Passes over the training images."""

    @property
    def keeps_last(self) -> bool:
        """Whether the weights of the last epoch are kept, instead of the best ones."""
        return self.schedule == "cosine"

    def decay_steps(self, steps: int) -> int | None:
        """Return the number of steps until the learning rate is zero; None: it is constant.

        Args:
            steps: the steps of one epoch.
        """
        return steps * self.epochs if self.schedule == "cosine" else None


class HeadConfig(PhaseConfig):
    """The first phase: trains the head on a frozen backbone, or the whole of a basic network."""

    widths: tuple[Width, ...] | None = None
    """Widths of the Dense-ReLU layers before the softmax. Default: those of the original study."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """The learning rate of Adam; the first one of a cosine schedule."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the training images."""
    early_stopping: int | None = Field(default=None, ge=1)
    """The phase ends after this many epochs without a better validation accuracy."""
    views: int = Field(default=0, ge=0, le=64)
    """Random views of each training image. Their features are computed once, and each epoch picks
    one view per image. A network that learns from pixels gets new views in every epoch. 0: images
    are used unchanged."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout rate after each Dense-ReLU layer."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Probability that is spread evenly over all labels of a target."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: rare labels have a larger weight in the loss."""

    @model_validator(mode="after")
    def _check_schedule(self) -> HeadConfig:
        if self.schedule == "cosine" and self.early_stopping is not None:
            raise ValueError(
                "early_stopping would end a cosine schedule too early; set only one of the two"
            )
        return self


class FineTuneConfig(PhaseConfig):
    """The second phase: trains on random views, with the last blocks of the backbone unfrozen."""

    epochs: int = Field(default=0, ge=0)
    """Passes over the training images; 0 disables fine-tuning."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """The learning rate of Adam; the first one of a cosine schedule."""
    unfreeze: int = Field(default=2, ge=0)
    """How many blocks, counted from the end of the backbone. BatchNormalization stays frozen."""


class ScalingConfig(Strict):
    """The number of Ray Train workers and their devices."""

    num_workers: int | None = Field(default=None, ge=1)
    """None: one worker per GPU in use, or a single worker when no GPU is used. At most the images
    of a batch."""
    use_gpu: bool | Literal["auto"] = "auto"
    """`auto`: all GPUs of the cluster, or the CPU when the cluster has no GPU."""
    mixed_precision: bool | Literal["auto"] = "auto"
    """float16 arithmetic with float32 weights. `auto`: only on GPUs."""
    max_failures: int = Field(default=3, ge=0)
    """The run fails after this many restarts from the last checkpoint."""
    checkpoint_seconds: float = Field(default=5.0, ge=0)
    """Save a checkpoint after an epoch if the last checkpoint is at least this old."""


class TrainConfig(Strict):
    """The configuration of one training run."""

    name: ModelName | None = None
    """The name of the model in its bundle; by default the name of the bundle's folder."""
    backbone: BackboneConfig = BackboneConfig()
    input_size: int = Field(default=160, ge=32, le=1024)
    """Height and width of the input, in pixels."""
    head: HeadConfig = HeadConfig()
    fine_tune: FineTuneConfig = FineTuneConfig()
    scaling: ScalingConfig = ScalingConfig()
    seed: Seed = 0
    """Seed of the split, the initial weights, the order of images and the views."""
    cache_dir: Path | None = None
    """The folder of cached features. A cluster needs a folder that all its nodes share."""

    @model_validator(mode="after")
    def _check_input_size(self) -> TrainConfig:
        """Raise before any file is read when the input is too small for the backbone."""
        self.network_spec(num_labels=2)
        return self

    @model_validator(mode="after")
    def _check_workers(self) -> TrainConfig:
        """Raise when workers would have no image of a batch: they would start for nothing."""
        workers = self.scaling.num_workers or 1
        phases = {"head": self.head, "fine_tune": self.fine_tune}
        for name, phase in phases.items():
            if phase.epochs and workers > phase.batch_size:
                raise ValueError(
                    f"scaling.num_workers is {workers}, but {name}.batch_size is"
                    f" {phase.batch_size}: each worker needs an image of each batch"
                )
        return self

    def with_absolute_paths(self) -> TrainConfig:
        """Return a copy with an absolute path of the weights. Workers run in other folders."""
        backbone = self.backbone
        if backbone.weights in (backbones.IMAGENET, backbones.NONE):
            return self
        absolute = backbone.model_copy(update={"weights": str(Path(backbone.weights).absolute())})
        return self.model_copy(update={"backbone": absolute})

    def network_spec(self, num_labels: int) -> NetworkSpec:
        """Return the specification of the network that this run fits."""
        widths = self.head.widths
        if widths is None:
            widths = networks.default_widths(self.backbone.name)
        return NetworkSpec(
            backbone=self.backbone.name,
            alpha=self.backbone.alpha,
            input_size=self.input_size,
            widths=widths,
            dropout=self.head.dropout,
            num_labels=num_labels,
        )


class SvmConfig(Strict):
    """A support vector machine with an RBF kernel on small greyscale images."""

    C: float = Field(default=1.0, gt=0)
    """The penalty for misclassified images; a small value prefers a wide margin."""
    gamma: float = Field(default=0.01, gt=0)
    """How fast similarity falls with distance, for pixel values from 0 to 1."""
    input_size: int = Field(default=32, ge=32, le=1024)
    """Height and width of the input, in pixels."""
