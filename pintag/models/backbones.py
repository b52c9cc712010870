"""Pretrained backbones for transfer learning: one row of a table for each.

A backbone maps `uint8[N,S,S,3]` to pooled features `float32[N,D]`. Its graph includes the
preprocessing that its ImageNet weights expect. Keras is imported only when a backbone is built.
"""

from __future__ import annotations

import importlib
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pintag.core.errors import WeightsError

if TYPE_CHECKING:
    import keras

IMAGENET, NONE = "imagenet", "none"


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network of `keras.applications` and its particularities."""

    module: str
    """The module below `keras.applications` that holds its `preprocess_input`."""
    constructor: str
    widths: tuple[int, ...]
    """The Dense layers of its default head, as in the original study."""
    min_size: int = 32
    has_alpha: bool = False
    blocks: str = r"^$"
    """A pattern for layer names; its group 1 is the block. Fine-tuning unfreezes whole blocks."""


TABLE = {
    "mobilenet": Backbone(
        "mobilenet", "MobileNet", (512, 256, 128, 64), has_alpha=True, blocks=r"^conv_.._(\d+)"
    ),
    "vgg16": Backbone("vgg16", "VGG16", (256, 128, 64), blocks=r"^block(\d+)_"),
    "resnet50": Backbone("resnet50", "ResNet50", (256, 128, 64), blocks=r"^(conv\d+_block\d+)_"),
    # A block has the layers after the concatenation of the previous block; the stem stays frozen.
    "inception_v3": Backbone(
        "inception_v3", "InceptionV3", (256, 128, 64), min_size=75, blocks=r"^(mixed\d+)$"
    ),
}


def build(name: str, input_size: int, weights: str, alpha: float = 1.0) -> keras.Model:
    """Build a frozen backbone `uint8[N,S,S,3] -> float32[N,D]` with global average pooling.

    Args:
        name: a key of `TABLE`.
        weights: `imagenet` (downloaded and cached by Keras), `none` (random), or the path of a
            Keras weights file without the classifier.
        alpha: the width multiplier of MobileNet; ignored by the others.

    Raises:
        WeightsError: the weights cannot be found, downloaded or loaded; the message names the file.
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
    """The name of the Keras function that preprocesses the backbone's input."""
    return f"keras.applications.{TABLE[name].module}.preprocess_input"


def unfreeze(backbone: keras.Model, name: str, blocks: int) -> None:
    """Make the last `blocks` blocks of a backbone trainable, except BatchNormalization layers."""
    import keras

    base = next(layer for layer in backbone.layers if isinstance(layer, keras.Model))
    pattern = re.compile(TABLE[name].blocks)
    block_of: list[str | None] = []
    current = None
    for layer in base.layers:
        if match := pattern.search(layer.name):
            current = match.group(1)
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
            f"no weights file {weights!r}; set backbone.weights to imagenet, none, or the path of "
            f"a Keras weights file of {row.constructor} without its classifier"
        )
    try:
        with warnings.catch_warnings():
            # MobileNet's weights fit any input size, but Keras warns about untrained ones.
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
    download = re.search(r"URL fetch failure on (\S+?):? ", str(error))
    if download:
        return WeightsError(
            f"the ImageNet weights of {row.constructor} could not be downloaded from"
            f" {download.group(1)}. Put that file into {_keras_cache()}, or set backbone.weights to"
            " its path. configs/train/sample.yaml has a network that needs none. With"
            " backbone.weights=none the frozen backbone has random weights, and the accuracy is"
            " only that of chance"
        )
    if weights == IMAGENET and isinstance(error, OSError):
        return WeightsError(
            f"the ImageNet weights of {row.constructor} cannot be read: {error}. Keras keeps them"
            f" in {_keras_cache()}: remove a damaged file there"
        )
    if weights in (IMAGENET, NONE):
        return WeightsError(f"{row.constructor} with weights={weights!r}: {error}")
    remedy = _remedy(row, str(error))
    return WeightsError(f"{weights}: does not fit this {row.constructor}: {error}{remedy}")


def _remedy(row: Backbone, message: str) -> str:
    """What to do about Keras's message about a weights file, or an empty text."""
    if "Layer count mismatch" in message:
        return "; use the _no_top file, which has no classifier"
    if "Shape mismatch" in message and row.has_alpha:
        return "; is it for another backbone.alpha?"
    return ""


def _keras_cache() -> Path:
    # The same choice as in `keras.utils.get_file`, also if the user has no home.
    home = Path(os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras")))  # noqa: PTH111
    return (home if os.access(home, os.W_OK) else Path("/tmp/.keras")) / "models"  # noqa: S108


def _module(row: Backbone) -> Any:
    return importlib.import_module(f"keras.applications.{row.module}")
