"""The networks: a dense head on a pretrained backbone, the basic CNN, and the basic ANN.

Every network maps `uint8[N,S,S,3]` to logits `float32[N,C]`; the engine adds temperature and
softmax. A network is rebuilt in code from its `NetworkSpec`, so that a bundle contains weights and
nothing executable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator, model_validator

from pintag.core.config import Strict
from pintag.models import backbones

if TYPE_CHECKING:
    import keras

BASIC_CNN, BASIC_ANN = "basic_cnn", "basic_ann"
NAMES = (*backbones.TABLE, BASIC_CNN, BASIC_ANN)
_WIDTHS = {
    # As in the original study: at 56x56 there are 7*7*128 features, so 6.5 million parameters.
    BASIC_CNN: (1024,),
    # At 56x56 the first layer has a third as many units as its 9,408 inputs.
    BASIC_ANN: (3136, 1024, 512, 128),
}
_BASIC_CNN_FILTERS = (32, 64, 128)

Width = Annotated[int, Field(ge=1, le=16384)]


class NetworkSpec(Strict):
    """The settings that determine a network's graph."""

    backbone: str
    alpha: float = Field(default=1.0, gt=0, le=4)
    input_size: int = Field(ge=32, le=1024)
    widths: tuple[Width, ...]
    dropout: float = Field(default=0.0, ge=0, lt=1)
    num_labels: int = Field(ge=2)

    @field_validator("backbone")
    @classmethod
    def _check_backbone(cls, name: str) -> str:
        if name not in NAMES:
            raise ValueError(f"no backbone {name!r}; choose one of {', '.join(NAMES)}")
        return name

    @model_validator(mode="after")
    def _check_input_size(self) -> NetworkSpec:
        if self.is_transfer and self.input_size < backbones.TABLE[self.backbone].min_size:
            minimum = backbones.TABLE[self.backbone].min_size
            raise ValueError(f"{self.backbone} needs an input size of at least {minimum}")
        return self

    @property
    def is_transfer(self) -> bool:
        """Whether the backbone is pretrained and frozen, and only the head is trained."""
        return self.backbone in backbones.TABLE

    @property
    def preprocessing(self) -> str:
        """A description of the first step of the network's graph."""
        if self.is_transfer:
            return backbones.preprocessing(self.backbone)
        return "pixels / 255"


def default_widths(backbone: str) -> tuple[int, ...]:
    """The widths of a backbone's default head, as in the original study."""
    row = backbones.TABLE.get(backbone)
    return row.widths if row else _WIDTHS[backbone]


def build_backbone(spec: NetworkSpec, weights: str = backbones.NONE) -> keras.Model:
    """The part before the head: `uint8[N,S,S,3] -> float32[N,D]`."""
    if spec.is_transfer:
        return backbones.build(spec.backbone, spec.input_size, weights, spec.alpha)
    return _basic_cnn(spec.input_size) if spec.backbone == BASIC_CNN else _flat(spec.input_size)


def build_head(spec: NetworkSpec, features: int, seed: int = 0) -> keras.Model:
    """The head: `float32[N,D] -> float32[N,C]` logits; Dense-ReLU layers, dropout after each."""
    import keras

    seeds = iter(range(seed * 1000, seed * 1000 + 1000))
    inputs = x = keras.Input((features,), name="features")
    for number, width in enumerate(spec.widths, start=1):
        x = keras.layers.Dense(
            width,
            activation="relu",
            kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
            name=f"dense_{number}",
        )(x)
        if spec.dropout:
            x = keras.layers.Dropout(spec.dropout, seed=next(seeds), name=f"dropout_{number}")(x)
    # float32 even in mixed precision: losses need it.
    logits = keras.layers.Dense(
        spec.num_labels,
        dtype="float32",
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        name="logits",
    )(x)
    return keras.Model(inputs, logits, name="head")


def assemble(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Join backbone and head: `uint8[N,S,S,3] -> float32[N,C]` logits. Weights are shared."""
    import keras

    inputs = keras.Input(backbone.input_shape[1:], dtype="uint8", name="pixels")
    return keras.Model(inputs, head(backbone(inputs)), name="network")


def build(spec: NetworkSpec) -> keras.Model:
    """The whole network with random weights."""
    backbone = build_backbone(spec)
    return assemble(backbone, build_head(spec, backbone.output_shape[-1]))


def count_parameters(spec: NetworkSpec) -> int:
    """The number of weights of the whole network."""
    return int(build(spec).count_params())


def _basic_cnn(input_size: int, seed: int = 0) -> keras.Model:
    """Three blocks of 3x3 convolution and 2x2 max pooling, flattened, as in the original study."""
    import keras

    inputs = keras.Input((input_size, input_size, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    for number, filters in enumerate(_BASIC_CNN_FILTERS, start=1):
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=keras.initializers.GlorotUniform(seed=seed + number),
            name=f"conv_{number}",
        )(x)
        x = keras.layers.MaxPooling2D(name=f"pool_{number}")(x)
    return keras.Model(inputs, keras.layers.Flatten()(x), name=BASIC_CNN)


def _flat(input_size: int) -> keras.Model:
    """The pixels, scaled and flattened: all layers of the basic ANN are in its head."""
    import keras

    inputs = keras.Input((input_size, input_size, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    return keras.Model(inputs, keras.layers.Flatten()(x), name=BASIC_ANN)
