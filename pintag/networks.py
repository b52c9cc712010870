"""The networks trained here: a dense head on a transfer backbone, the basic CNN, the basic ANN.

Every network takes `uint8[N,S,S,3]` and gives logits `float32[N,C]`; the softmax belongs to the
engine, where the temperature is known. A network is rebuilt from its `NetworkSpec` in code, so a
bundle holds weights and nothing that can execute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator, model_validator

from pintag import backbones
from pintag.config import Strict

if TYPE_CHECKING:
    import keras

BASIC_CNN, BASIC_ANN = "basic_cnn", "basic_ann"
NAMES = (*backbones.TABLE, BASIC_CNN, BASIC_ANN)
_WIDTHS = {
    # 7*7*128 features make about 6.5 million parameters at 56x56, as in the study.
    BASIC_CNN: (1024,),
    # At 56x56 the first layer has a third of its 9,408 inputs.
    BASIC_ANN: (3136, 1024, 512, 128),
}
_BASIC_CNN_FILTERS = (32, 64, 128)

Width = Annotated[int, Field(ge=1, le=16384)]


class NetworkSpec(Strict):
    """Everything that determines a network's graph."""

    backbone: str
    alpha: float = Field(default=1.0, gt=0, le=4)
    input_size: int = Field(ge=32, le=1024)
    widths: tuple[Width, ...]
    dropout: float = Field(default=0.0, ge=0, lt=1)
    num_labels: int = Field(ge=2)

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NAMES:
            raise ValueError(f"no backbone {name!r}; there are {', '.join(NAMES)}")
        return name

    @model_validator(mode="after")
    def _large_enough(self) -> NetworkSpec:
        if self.is_transfer and self.input_size < backbones.TABLE[self.backbone].min_size:
            least = backbones.TABLE[self.backbone].min_size
            raise ValueError(f"{self.backbone} needs an input size of at least {least}")
        return self

    @property
    def is_transfer(self) -> bool:
        """Whether the backbone comes from elsewhere, frozen, rather than being trained here."""
        return self.backbone in backbones.TABLE

    @property
    def preprocessing(self) -> str:
        """What the network's graph does to raw pixels first, in words."""
        if self.is_transfer:
            return backbones.preprocessing(self.backbone)
        return "pixels / 255"


def default_widths(backbone: str) -> tuple[int, ...]:
    """The Dense layers that the study put on a backbone."""
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
    # Half precision is for the matrices before; logits stay float32, where losses are computed.
    logits = keras.layers.Dense(
        spec.num_labels,
        dtype="float32",
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        name="logits",
    )(x)
    return keras.Model(inputs, logits, name="head")


def assemble(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """The whole network `uint8[N,S,S,3] -> float32[N,C]` logits, sharing its parts' weights."""
    import keras

    inputs = keras.Input(backbone.input_shape[1:], dtype="uint8", name="pixels")
    return keras.Model(inputs, head(backbone(inputs)), name="network")


def build(spec: NetworkSpec) -> keras.Model:
    """The whole network with random weights, to load a bundle's weights into."""
    backbone = build_backbone(spec)
    return assemble(backbone, build_head(spec, backbone.output_shape[-1]))


def count_parameters(spec: NetworkSpec) -> int:
    """Weights of the whole network."""
    return int(build(spec).count_params())


def _basic_cnn(input_size: int, seed: int = 0) -> keras.Model:
    """Three blocks of 3x3 convolution and 2x2 max pooling, flattened: the study's basic CNN."""
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
    """Nothing but the pixels: the study's basic ANN is its head."""
    import keras

    inputs = keras.Input((input_size, input_size, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    return keras.Model(inputs, keras.layers.Flatten()(x), name=BASIC_ANN)
