"""Networks: specification, the shapes of the original study, seeds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pintag.core.types import Pixels
from pintag.models import backbones, networks
from pintag.models.networks import NetworkSpec

KERAS = pytest.mark.keras


def spec(**changes: Any) -> NetworkSpec:
    """The specification of a small basic CNN, with `changes`."""
    values = {"backbone": "basic_cnn", "input_size": 32, "widths": (8, 4), "num_labels": 3}
    return NetworkSpec(**values | changes)


def pixels(size: int, count: int = 4) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def equal(one: Any, other: Any) -> bool:
    """Whether two networks have the same weights, in the same order."""
    pairs = zip(one.weights, other.weights, strict=True)
    return all(np.array_equal(np.array(a), np.array(b)) for a, b in pairs)


def test_an_unknown_backbone_error_lists_the_backbones() -> None:
    with pytest.raises(
        ValidationError, match=r"no backbone 'alexnet'; choose one of mobilenet, .*cnn"
    ):
        spec(backbone="alexnet")


@pytest.mark.parametrize(("backbone", "least"), [("inception_v3", 75), ("vgg16", 32)])
def test_an_input_below_the_backbones_minimum_is_refused(backbone: str, least: int) -> None:
    assert spec(backbone=backbone, input_size=least).input_size == least
    with pytest.raises(ValidationError, match=str(least)):
        spec(backbone=backbone, input_size=least - 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"widths": (8, 0)},
        {"widths": (16385,)},
        {"widths": 8},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"alpha": 0.0},
        {"num_labels": 1},
        {"input_size": 1025},
        {"filters": 3},
    ],
    ids=str,
)
def test_wrong_values_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(changes))):
        spec(**changes)


def test_a_specification_round_trips_through_json() -> None:
    created = spec(backbone="mobilenet", alpha=0.75, dropout=0.5)
    assert NetworkSpec.model_validate_json(created.model_dump_json()) == created


def test_default_widths_are_those_of_the_study() -> None:
    assert {name: networks.default_widths(name) for name in networks.NAMES} == {
        "mobilenet": (512, 256, 128, 64),
        "vgg16": (256, 128, 64),
        "resnet50": (256, 128, 64),
        "inception_v3": (256, 128, 64),
        "basic_cnn": (1024,),
        "basic_ann": (3136, 1024, 512, 128),
    }


def test_only_pretrained_backbones_are_transfer_networks() -> None:
    transferred = {
        name for name in networks.NAMES if spec(backbone=name, input_size=75).is_transfer
    }
    assert transferred == set(backbones.TABLE)
    assert spec().preprocessing == "pixels / 255"
    assert spec(backbone="vgg16").preprocessing == "keras.applications.vgg16.preprocess_input"


@KERAS
def test_the_basic_cnn_is_the_one_of_the_study() -> None:
    import keras

    widths = networks.default_widths("basic_cnn")
    network = networks.build(spec(input_size=56, widths=widths, num_labels=8))
    assert 6.3e6 < network.count_params() < 6.7e6
    layers = network.get_layer("basic_cnn").layers
    blocks = [
        (first.filters, first.kernel_size, second.pool_size)
        for first, second in pairwise(layers)
        if isinstance(first, keras.layers.Conv2D) and isinstance(second, keras.layers.MaxPooling2D)
    ]
    assert blocks == [(32, (3, 3), (2, 2)), (64, (3, 3), (2, 2)), (128, (3, 3), (2, 2))]
    assert network.trainable_weights == network.weights


@KERAS
def test_the_basic_ann_is_the_one_of_the_study() -> None:
    """9,408 pixels into 3136-1024-512-128."""
    widths = networks.default_widths("basic_ann")
    created = networks.build(spec(backbone="basic_ann", input_size=56, widths=widths, num_labels=8))
    flat = created.get_layer("basic_ann")
    assert flat.output_shape == (None, 56 * 56 * 3)
    assert flat.count_params() == 0
    assert created.count_params() == sum(
        (above + 1) * below for above, below in zip((9408, *widths), (*widths, 8), strict=True)
    )


@KERAS
def test_the_basic_cnn_scales_pixels_to_zero_to_one() -> None:
    import keras

    cnn = networks.build_backbone(spec())
    inside = keras.Model(cnn.input, cnn.get_layer("conv_1").input)
    np.testing.assert_allclose(inside(pixels(32)), pixels(32) / 255, atol=1e-6)


@KERAS
def test_a_head_is_dense_layers_with_dropout_after_each() -> None:
    head = networks.build_head(spec(widths=(8, 4), dropout=0.3), features=10)
    assert [
        (layer.name, getattr(layer, "units", None), getattr(layer, "rate", None))
        for layer in head.layers[1:]
    ] == [
        ("dense_1", 8, None),
        ("dropout_1", None, 0.3),
        ("dense_2", 4, None),
        ("dropout_2", None, 0.3),
        ("logits", 3, None),
    ]
    assert head.input_shape == (None, 10)
    assert head.output_shape == (None, 3)


@KERAS
def test_a_head_without_dropout_or_widths_has_no_such_layers() -> None:
    head = networks.build_head(spec(widths=(), dropout=0.0), features=10)
    assert [layer.name for layer in head.layers] == ["features", "logits"]


@KERAS
def test_a_network_returns_logits() -> None:
    network = networks.build(spec())
    logits = np.array(network(pixels(32)))
    assert logits.dtype == np.float32
    assert logits.shape == (4, 3)
    assert logits.min() < 0
    # Logits are unbounded: weights ten times as large give logits ten times as large.
    last = network.get_layer("head").get_layer("logits")
    last.kernel.assign(last.kernel * 10)
    np.testing.assert_allclose(network(pixels(32)), logits * 10, rtol=1e-4)


@KERAS
def test_logits_are_float32_under_half_precision() -> None:
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = networks.build(spec())
    finally:
        keras.config.set_dtype_policy("float32")
    assert network.get_layer("head").get_layer("dense_1").compute_dtype == "float16"
    assert np.array(network(pixels(32))).dtype == np.float32


@KERAS
@pytest.mark.parametrize("backbone", ["basic_cnn", "mobilenet"])
def test_a_network_is_backbone_plus_head(backbone: str) -> None:
    chosen = spec(backbone=backbone, alpha=0.25)
    body = networks.build_backbone(chosen)
    head = networks.build_head(chosen, body.output_shape[-1])
    network = networks.assemble(body, head)
    np.testing.assert_allclose(network(pixels(32)), head(body(pixels(32))), atol=1e-6)
    # The parts are shared, not copied: what is learnt in one is learnt in the other.
    head.get_layer("logits").bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_allclose(network(pixels(32)), head(body(pixels(32))), atol=1e-6)


@KERAS
@pytest.mark.parametrize("backbone", ["basic_cnn", "mobilenet"])
def test_weights_can_be_copied_to_a_rebuilt_network(backbone: str) -> None:
    chosen = spec(backbone=backbone, alpha=0.25, dropout=0.2)
    body = networks.build_backbone(chosen)
    first = networks.assemble(body, networks.build_head(chosen, body.output_shape[-1], seed=5))
    again = networks.build(chosen)
    assert not equal(again, first)
    for new, old in zip(again.weights, first.weights, strict=True):
        new.assign(old)
    np.testing.assert_array_equal(again(pixels(32)), first(pixels(32)))


@KERAS
def test_heads_depend_on_the_seed() -> None:
    one, same, other = (networks.build_head(spec(), features=10, seed=n) for n in (1, 1, 2))
    assert equal(one, same)
    assert not equal(one, other)


@KERAS
def test_the_layers_of_a_head_start_with_different_weights() -> None:
    head = networks.build_head(spec(widths=(10, 10)), features=10)
    one, other = (np.array(head.get_layer(f"dense_{number}").kernel) for number in (1, 2))
    assert not np.array_equal(one, other)


@KERAS
def test_equal_specifications_give_equal_basic_cnns() -> None:
    assert equal(networks.build(spec()), networks.build(spec()))
