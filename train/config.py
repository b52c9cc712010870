"""One training configuration is one experiment; its keys are a public interface."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pintag import backbones, networks
from pintag.bundle import Name
from pintag.config import Strict
from pintag.networks import NetworkSpec, Width


class BackboneConfig(Strict):
    """Which network, and what it starts from."""

    name: str = "mobilenet"
    alpha: float = Field(default=1.0, gt=0, le=4)
    """The width multiplier; MobileNet alone has one."""
    weights: str = backbones.IMAGENET
    """`imagenet`, `none`, or the path of a Keras weights file."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in networks.NAMES:
            raise ValueError(f"there are {', '.join(networks.NAMES)}")
        return name


class PhaseConfig(Strict):
    """What both phases are told."""

    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    """`cosine`: the learning rate falls to zero over the epochs, and the last epoch is kept instead
    of the one that the validation split likes best."""
    batch_size: int = Field(default=32, ge=1)
    """Images a step over all workers together, so that a result does not depend on their number."""
    epochs: int

    @property
    def keeps_last(self) -> bool:
        """Whether the last epoch is the one to keep."""
        return self.schedule == "cosine"

    def decay_steps(self, steps: int) -> int | None:
        """Steps to a learning rate of zero, of so many an epoch; None: it never falls."""
        return steps * self.epochs if self.schedule == "cosine" else None


class HeadConfig(PhaseConfig):
    """The first phase: the head on a frozen backbone, or the whole of a network without one."""

    widths: tuple[Width, ...] | None = None
    """Dense-ReLU layers before the softmax; by default those of the study."""
    learning_rate: float = Field(default=1e-4, gt=0)
    epochs: int = Field(default=20, ge=1)
    early_stopping: int | None = Field(default=None, ge=1)
    """Epochs without a better validation accuracy after which the phase ends."""
    views: int = Field(default=0, ge=0, le=64)
    """Random views of each training image that have their features computed once, for each epoch to
    choose from; a network that learns from pixels sees new ones in every epoch. 0: the image as it
    is."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"

    @model_validator(mode="after")
    def _whole_schedule(self) -> HeadConfig:
        if self.schedule == "cosine" and self.early_stopping is not None:
            raise ValueError("early_stopping would cut a cosine schedule short: set one of the two")
        return self


class FineTuneConfig(PhaseConfig):
    """The second phase: random views through the network, its last blocks unfrozen."""

    epochs: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-5, gt=0)
    unfreeze: int = Field(default=2, ge=0)
    """Blocks of the backbone, counted from its end; BatchNormalization stays frozen."""


class ScalingConfig(Strict):
    """How many Ray Train workers, and on what."""

    num_workers: int | None = Field(default=None, ge=1)
    """None: one worker for each GPU that is used, or one without GPUs."""
    use_gpu: bool | Literal["auto"] = "auto"
    """`auto`: every GPU the cluster has, the processor where there is none."""
    mixed_precision: bool | Literal["auto"] = "auto"
    """float16 arithmetic with float32 weights; `auto`: on GPUs alone."""
    max_failures: int = Field(default=3, ge=0)
    """Restarts from the last checkpoint before a run is given up."""
    checkpoint_seconds: float = Field(default=5.0, ge=0)
    """An epoch ends with a checkpoint when the last one is at least this old."""


class TrainConfig(Strict):
    """One experiment."""

    name: Name | None = None
    """The model's name in its bundle; by default that of the backbone."""
    backbone: BackboneConfig = BackboneConfig()
    input_size: int = Field(default=160, ge=32, le=1024)
    head: HeadConfig = HeadConfig()
    fine_tune: FineTuneConfig = FineTuneConfig()
    scaling: ScalingConfig = ScalingConfig()
    seed: int = Field(default=0, ge=0)
    cache_dir: Path | None = None
    """Where features are kept between runs; on many nodes a folder that all of them see."""

    @model_validator(mode="after")
    def _fits_together(self) -> TrainConfig:
        """Find an input that is too small for its backbone before anything is read."""
        self.network_spec(num_labels=2)
        return self

    def located(self) -> TrainConfig:
        """With the absolute path of its weights: workers run in folders of their own."""
        backbone = self.backbone
        if backbone.weights in (backbones.IMAGENET, backbones.NONE):
            return self
        absolute = backbone.model_copy(update={"weights": str(Path(backbone.weights).absolute())})
        return self.model_copy(update={"backbone": absolute})

    def network_spec(self, num_labels: int) -> NetworkSpec:
        """The network that this experiment fits."""
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
    """A support vector machine with an RBF kernel on small grey pictures."""

    C: float = Field(default=1.0, gt=0)
    """How much a wrong picture costs against a wide margin."""
    gamma: float = Field(default=0.01, gt=0)
    """How fast pictures cease to be alike, for pixels from 0 to 1."""
    input_size: int = Field(default=32, ge=32, le=1024)
