"""The transfer backbones: one table row each.

A backbone maps `uint8[N,S,S,3]` to pooled features `float32[N,D]`; the preprocessing that its
ImageNet weights expect is part of its graph. Keras is imported only when one is built.
"""

from __future__ import annotations

import importlib
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pintag.errors import WeightsError

if TYPE_CHECKING:
    import keras

IMAGENET, NONE = "imagenet", "none"


@dataclass(frozen=True, slots=True)
class Backbone:
    """One constructor of `keras.applications`, and what is particular about it."""

    module: str
    """The module below `keras.applications` that holds its `preprocess_input`."""
    constructor: str
    widths: tuple[int, ...]
    """The Dense layers of the head that the study put on it."""
    min_size: int = 32
    has_alpha: bool = False
    blocks: str = r"^$"
    """Its group 1 is the block in a layer's name: the network is unfrozen block by block."""


TABLE = {
    "mobilenet": Backbone(
        "mobilenet", "MobileNet", (512, 256, 128, 64), has_alpha=True, blocks=r"^conv_.._(\d+)"
    ),
    "vgg16": Backbone("vgg16", "VGG16", (256, 128, 64), blocks=r"^block(\d+)_"),
    "resnet50": Backbone("resnet50", "ResNet50", (256, 128, 64), blocks=r"^(conv\d+_block\d+)_"),
    # A block begins behind the layer that joins the one before; the stem is never unfrozen.
    "inception_v3": Backbone(
        "inception_v3", "InceptionV3", (256, 128, 64), min_size=75, blocks=r"^(mixed\d+)$"
    ),
}


def build(name: str, input_size: int, weights: str, alpha: float = 1.0) -> keras.Model:
    """Build a frozen backbone `uint8[N,S,S,3] -> float32[N,D]` with global average pooling.

    Args:
        name: a key of `TABLE`.
        weights: `imagenet` (downloaded and cached by Keras), `none` (random), or a path to a
            Keras weights file without the classifier.
        alpha: the width multiplier of MobileNet; ignored by the others.

    Raises:
        WeightsError: the weights cannot be found, fetched or loaded; says which file was wanted.
    """
    import keras

    row = TABLE[name]
    inputs = keras.Input((input_size, input_size, 3), dtype="uint8", name="pixels")
    prepared = _module(row).preprocess_input(keras.ops.cast(inputs, "float32"))
    base = _construct(row, input_size, weights, alpha)
    # `training=False` keeps BatchNormalization in inference mode, even when it is fine-tuned.
    outputs = base(prepared, training=False)
    model = keras.Model(inputs, outputs, name=name)
    model.trainable = False
    return model


def preprocessing(name: str) -> str:
    """The Keras function that a backbone's graph begins with, by its public name."""
    return f"keras.applications.{TABLE[name].module}.preprocess_input"


def unfreeze(backbone: keras.Model, name: str, blocks: int) -> None:
    """Make the last `blocks` blocks of a built backbone trainable, BatchNormalization excepted."""
    import keras

    base = next(layer for layer in backbone.layers if isinstance(layer, keras.Model))
    pattern = re.compile(TABLE[name].blocks)
    block_of: list[str | None] = []
    current = None
    for layer in base.layers:
        if found := pattern.search(layer.name):
            current = found.group(1)
        block_of.append(current)
    weighted = (b for layer, b in zip(base.layers, block_of, strict=True) if b and layer.weights)
    last = list(reversed(dict.fromkeys(weighted)))[:blocks]
    backbone.trainable = True
    for layer, block in zip(base.layers, block_of, strict=True):
        frozen = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = block in last and not frozen


def _construct(row: Backbone, input_size: int, weights: str, alpha: float) -> keras.Model:
    import keras

    options: dict[str, Any] = {"alpha": alpha} if row.has_alpha else {}
    if weights not in (IMAGENET, NONE) and not Path(weights).is_file():
        raise WeightsError(
            f"no weights file {weights!r}: backbone.weights is imagenet, none, or the path of a "
            f"Keras weights file of {row.constructor} without its classifier"
        )
    try:
        with warnings.catch_warnings():
            # Of a size that MobileNet was not trained at: the weights fit any.
            warnings.filterwarnings("ignore", "`input_shape` is undefined or non-square")
            return getattr(keras.applications, row.constructor)(
                include_top=False,
                weights=None if weights == NONE else weights,
                input_shape=(input_size, input_size, 3),
                pooling="avg",
                **options,
            )
    except Exception as error:
        raise _weights_error(row, weights, error) from error


def _weights_error(row: Backbone, weights: str, error: Exception) -> WeightsError:
    fetch = re.search(r"URL fetch failure on (\S+?):? ", str(error))
    if fetch:
        wanted = fetch.group(1).rsplit("/", 1)[-1]
        return WeightsError(
            f"the ImageNet weights of {row.constructor} could not be downloaded: wanted {wanted!r}."
            f" Put that file into {_keras_cache()}, or set backbone.weights to its path, or"
            " backbone.weights=none to start from random weights, or backbone.name=basic_cnn for a"
            " network that needs none"
        )
    if weights == IMAGENET and isinstance(error, OSError):
        return WeightsError(
            f"the ImageNet weights of {row.constructor} cannot be read: {error}. Keras keeps them"
            f" in {_keras_cache()}: remove a damaged file there"
        )
    if weights in (IMAGENET, NONE):
        return WeightsError(f"{row.constructor} with weights={weights!r}: {error}")
    return WeightsError(f"{weights}: no weights of this {row.constructor}: {error}")


def _keras_cache() -> Path:
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    # As `keras.utils.get_file` chooses.
    return (home if os.access(home, os.W_OK) else Path("/tmp/.keras")) / "models"  # noqa: S108


def _module(row: Backbone) -> Any:
    return importlib.import_module(f"keras.applications.{row.module}")
