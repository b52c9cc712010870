"""Pretrained backbones: inputs and outputs, trainable layers, sources of weights."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag.core.errors import WeightsError
from pintag.core.types import Pixels
from pintag.images import decoding
from pintag.models import backbones

pytestmark = pytest.mark.keras

# The smallest input of each, and the width of its features; MobileNet's at alpha 0.25.
SIZES = {"mobilenet": 32, "vgg16": 32, "resnet50": 32, "inception_v3": 75}
FEATURES = {"mobilenet": 256, "vgg16": 512, "resnet50": 2048, "inception_v3": 2048}
# The last two blocks come after this layer.
BEFORE_LAST_TWO = {
    "mobilenet": "conv_pw_11_relu",
    "vgg16": "block3_pool",
    "resnet50": "conv5_block1_out",
    "inception_v3": "mixed8",
}
BEFORE_LAST = {
    "mobilenet": "conv_pw_12_relu",
    "vgg16": "block4_pool",
    "resnet50": "conv5_block2_out",
    "inception_v3": "mixed9",
}
ROWS = pytest.mark.parametrize("name", backbones.TABLE)


@cache
def built(name: str) -> Any:
    """A backbone with random weights; it is built once, because this takes a second."""
    return backbones.build(name, SIZES[name], backbones.NONE, alpha=0.25)


def base(backbone: Any) -> Any:
    """The network of `keras.applications` inside."""
    import keras

    return next(layer for layer in backbone.layers if isinstance(layer, keras.Model))


def pixels(size: int, count: int = 3) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def alike(result: Any, expected: Any, tolerance: float = 1e-4) -> bool:
    """Whether features agree; those of random weights are as small as 1e-16."""
    scale = np.abs(expected).max()
    assert scale > 0
    return bool(np.abs(result - expected).max() <= tolerance * scale)


def trainable(backbone: Any) -> list[str]:
    return [layer.name for layer in base(backbone).layers if layer.trainable_weights]


def convolutions_behind(backbone: Any, boundary: str) -> list[str]:
    """The layers after `boundary` that have weights, except BatchNormalization."""
    import keras

    layers = base(backbone).layers
    start = [layer.name for layer in layers].index(boundary)
    return [
        layer.name
        for layer in layers[start:]
        if layer.weights and not isinstance(layer, keras.layers.BatchNormalization)
    ]


@ROWS
def test_pixels_become_pooled_features(name: str) -> None:
    import keras

    backbone = built(name)
    size = SIZES[name]
    assert backbone.inputs[0].dtype == "uint8"
    assert backbone.input_shape == (None, size, size, 3)
    features = backbone(pixels(size))
    assert keras.backend.standardize_dtype(features.dtype) == "float32"
    assert features.shape == (3, FEATURES[name])
    assert np.isfinite(features).all()


@ROWS
def test_the_preprocessing_of_its_weights_is_in_the_graph(name: str) -> None:
    module = import_module(f"keras.applications.{backbones.TABLE[name].module}")
    images = pixels(SIZES[name])
    by_hand = module.preprocess_input(images.astype(np.float32))
    expected = base(built(name))(by_hand, training=False)
    assert alike(built(name)(images), expected)
    # Without preprocessing the features differ.
    raw = base(built(name))(images.astype(np.float32), training=False)
    assert not alike(raw, expected, tolerance=0.01)


@ROWS
def test_preprocessing_has_the_name_of_the_keras_function(name: str) -> None:
    module, function = backbones.preprocessing(name).rsplit(".", 1)
    assert callable(getattr(import_module(module), function))


@ROWS
def test_a_new_backbone_is_frozen(name: str) -> None:
    backbone = backbones.build(name, SIZES[name], backbones.NONE, alpha=0.25)
    assert backbone.trainable_weights == []


@ROWS
@pytest.mark.parametrize(("blocks", "boundaries"), [(1, BEFORE_LAST), (2, BEFORE_LAST_TWO)])
def test_only_the_last_blocks_are_unfrozen(
    name: str, blocks: int, boundaries: dict[str, str]
) -> None:
    backbones.unfreeze(built(name), name, blocks)
    assert trainable(built(name)) == convolutions_behind(built(name), boundaries[name])


@ROWS
def test_batch_normalization_is_never_unfrozen(name: str) -> None:
    import keras

    backbones.unfreeze(built(name), name, 1000)
    kinds = {type(layer) for layer in base(built(name)).layers if layer.trainable_weights}
    assert kinds
    assert keras.layers.BatchNormalization not in kinds


@ROWS
def test_unfreezing_no_blocks_keeps_all_frozen(name: str) -> None:
    backbones.unfreeze(built(name), name, 2)
    backbones.unfreeze(built(name), name, 0)
    assert trainable(built(name)) == []


def test_automatic_layer_names_are_not_blocks() -> None:
    import keras

    # The input of the thirteenth network in a process is called input_layer_13.
    keras.utils.clear_session()
    for _ in range(13):
        keras.layers.InputLayer(shape=(1,))
    backbone = backbones.build("mobilenet", 32, backbones.NONE, alpha=0.25)
    assert base(backbone).layers[0].name == "input_layer_13"
    backbones.unfreeze(backbone, "mobilenet", 1)
    assert trainable(backbone) == ["conv_dw_13", "conv_pw_13"]


@ROWS
def test_batch_normalization_keeps_its_statistics_in_training(name: str) -> None:
    backbone = built(name)
    backbones.unfreeze(backbone, name, 2)
    before = [np.array(variable) for variable in backbone.non_trainable_variables]
    inferred = np.array(backbone(pixels(SIZES[name])))
    trained = np.array(backbone(pixels(SIZES[name]), training=True))
    np.testing.assert_array_equal(trained, inferred)
    for old, new in zip(before, backbone.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.data
@pytest.mark.parametrize("alpha", [0.25, 0.75])
def test_real_weights_load_from_a_path(alpha: float, real_data: Path) -> None:
    import keras

    weights = (
        real_data / "weights" / f"mobilenet_{'2_5' if alpha == 0.25 else '7_5'}_224_tf_no_top.h5"
    )
    paths = sorted((real_data / "pins" / "test").rglob("*.jpg"))[::60]
    photographs = np.stack([decoding.read(path, 160) for path in paths])
    backbone = backbones.build("mobilenet", 160, str(weights), alpha)
    plain = keras.applications.MobileNet(
        input_shape=(160, 160, 3), alpha=alpha, include_top=False, weights=weights, pooling="avg"
    )
    prepared = keras.applications.mobilenet.preprocess_input(photographs.astype(np.float32))
    assert alike(backbone(photographs), plain(prepared, training=False))


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "alpha"),
    [("mobilenet_2_5_224_tf.h5", 0.25), ("mobilenet_7_5_224_tf_no_top.h5", 0.25)],
    ids=["with the classifier", "of another alpha"],
)
def test_weights_of_another_network_are_refused(file: str, alpha: float, real_data: Path) -> None:
    path = real_data / "weights" / file
    with pytest.raises(WeightsError) as caught:
        backbones.build("mobilenet", 32, str(path), alpha)
    assert str(path) in str(caught.value)
    assert "MobileNet" in str(caught.value)


@pytest.mark.parametrize("name", ["junk.weights.h5", "junk.h5", "junk.bin", "empty.h5"])
def test_an_invalid_weights_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"" if "empty" in name else b"not weights at all")
    with pytest.raises(WeightsError) as caught:
        backbones.build("mobilenet", 32, str(path), 0.25)
    assert str(caught.value).startswith(f"{path}: does not fit this MobileNet")


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        ("MobileNet", "Shape mismatch in layer #0", "; is it for another backbone.alpha?"),
        ("VGG16", "Shape mismatch in layer #0", ""),
        ("VGG16", "Layer count mismatch", "; use the _no_top file, which has no classifier"),
    ],
)
def test_weights_that_do_not_fit_are_reported_with_the_remedy(
    name: str, message: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise ValueError(message)

    monkeypatch.setattr(f"keras.applications.{name}", refuse)
    path = tmp_path / "other.h5"
    path.touch()
    with pytest.raises(WeightsError) as caught:
        backbones.build(name.lower(), 32, str(path), 0.25)
    assert str(caught.value).endswith(message + remedy)


@pytest.mark.parametrize("name", ["missing.h5", "."])
def test_a_missing_weights_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(WeightsError) as caught:
        backbones.build("mobilenet", 32, str(path), 0.25)
    assert str(path) in str(caught.value)
    assert "imagenet, none, or the path" in str(caught.value)


def test_our_own_saved_weights_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "own.weights.h5"
    base(built("mobilenet")).save_weights(path)
    again = backbones.build("mobilenet", 32, str(path), 0.25)
    np.testing.assert_array_equal(again(pixels(32)), built("mobilenet")(pixels(32)))


def test_an_alpha_without_imagenet_weights_error_lists_the_alphas() -> None:
    with pytest.raises(WeightsError, match=r"0\.75.*alpha=0\.3"):
        backbones.build("mobilenet", 32, backbones.IMAGENET, 0.3)


# In a process of its own: Keras reads KERAS_HOME when it is imported.
DOWNLOAD = """
import sys, warnings
from pathlib import Path

import numpy as np

from pintag.models import backbones
from pintag.core.errors import WeightsError

try:
    backbones.build("mobilenet", 96, "imagenet", 0.25)
except WeightsError as error:
    print(error, file=sys.stderr)

import keras

network = keras.applications.MobileNet(
    input_shape=(96, 96, 3), alpha=0.25, include_top=False, weights=None, pooling="avg"
)
models, name = Path(sys.argv[1]), sys.argv[2]
models.mkdir(parents=True, exist_ok=True)
network.save(models / name)
warnings.simplefilter("error")
backbone = backbones.build("mobilenet", 96, "imagenet", 0.25)
pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
actual, expected = np.array(backbone(pixels)), np.array(network(pixels / 127.5 - 1.0))
assert np.abs(actual - expected).max() <= 1e-4 * expected.max() > 0
print("used", file=sys.stderr)

(models / name).write_bytes(b"damaged")
try:
    backbones.build("mobilenet", 96, "imagenet", 0.25)
except WeightsError as error:
    print(error, file=sys.stderr)
"""


def test_missing_weights_work_from_the_folder_that_the_error_names(tmp_path: Path) -> None:
    expected_value, folder = "mobilenet_2_5_224_tf_no_top.h5", tmp_path / "models"
    # No server listens on port 9 of this machine, so every download is refused at once.
    unreachable = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-c", DOWNLOAD, folder, expected_value],
        capture_output=True,
        text=True,
        env=os.environ | unreachable | {"KERAS_HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    refused, used, damaged = [
        line for line in done.stderr.splitlines() if "MobileNet" in line or line == "used"
    ]
    for words in (expected_value, f"into {folder}", "backbone.weights=none", "that of chance"):
        assert words in refused
    assert used == "used"
    assert str(folder) in damaged
