"""Engines: inputs, outputs, and predictions that do not depend on batch or thread."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pintag.core.types import Engine, Pixels
from pintag.models import networks
from pintag.models.engines.openvino import OpenVINOEngine, convert
from pintag.models.engines.tensorflow import TensorFlowEngine, check_batch
from pintag.models.networks import NetworkSpec

KERAS = pytest.mark.keras
SIZE, LABELS = 32, 5


@pytest.fixture(scope="module")
def network() -> Any:
    """A network with random weights, large enough for its predictions to differ."""
    spec = NetworkSpec(
        backbone="basic_cnn", input_size=SIZE, widths=(16,), dropout=0.5, num_labels=LABELS
    )
    created = networks.build(spec)
    logits = created.get_layer("head").get_layer("logits")
    logits.kernel.assign(logits.kernel * 20)
    return created


def padded(network: Any, temperature: float = 1.0) -> Engine:
    """The engine for a GPU, here on a CPU: a few fixed batch sizes."""
    return TensorFlowEngine(network, temperature, sizes=(4, 16, 1))


def openvino(network: Any, temperature: float = 1.0) -> Engine:
    return OpenVINOEngine(convert(network, temperature), "fp32")


def sized(network: Any, temperature: float = 1.0) -> Engine:
    """The engine of a server: batches of 1 and of 32 are compiled separately."""
    return OpenVINOEngine(convert(network, temperature), "fp32", sizes=[1, 32])


def int8(network: Any, temperature: float = 1.0) -> Engine:
    import nncf

    nncf.set_log_level(logging.ERROR)
    calibration = nncf.Dataset([pixels(1, seed) for seed in range(64)])
    model = nncf.quantize(
        convert(network, temperature), calibration, preset=nncf.QuantizationPreset.MIXED
    )
    return OpenVINOEngine(model, "int8")


ENGINES: dict[str, Callable[..., Engine]] = {
    "tensorflow": TensorFlowEngine,
    "tensorflow, padded": padded,
    "openvino": openvino,
    "openvino, sized": sized,
    "openvino int8": int8,
}
# How far confidences may be from TensorFlow's in float32.
TOLERANCES = {"fp32": 1e-5, "int8": 0.2}


@pytest.fixture(scope="module", params=ENGINES)
def make(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    return ENGINES[request.param]


@pytest.fixture(scope="module")
def engine(network: Any, make: Callable[..., Engine]) -> Engine:
    return make(network)


def pixels(count: int, seed: int = 0) -> Pixels:
    """Images of one colour with noise, all different."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 200, (count, 1, 1, 3))
    return (colours + rng.integers(0, 56, (count, SIZE, SIZE, 3))).astype(np.uint8)


@KERAS
@pytest.mark.parametrize("count", [1, 2, 33])
def test_pixels_become_confidences_that_sum_to_one(engine: Engine, count: int) -> None:
    confidences = engine.predict(pixels(count))
    assert isinstance(confidences, np.ndarray)
    assert confidences.dtype == np.float32
    assert confidences.shape == (count, LABELS)
    np.testing.assert_allclose(confidences.sum(axis=1), 1, atol=1e-6)
    assert (confidences >= 0).all()


@KERAS
def test_an_engine_has_name_precision_and_input_size(engine: Engine) -> None:
    assert engine.name in ENGINES
    assert engine.precision in TOLERANCES
    assert engine.input_size == SIZE


@KERAS
def test_confidences_are_the_softmax_of_the_logits(network: Any, engine: Engine) -> None:
    logits = np.array(network(pixels(8), training=False))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    result = engine.predict(pixels(8))
    np.testing.assert_allclose(result, expected, atol=TOLERANCES[engine.precision])
    # Different images have different answers, or the tests here would prove nothing.
    assert np.ptp(result, axis=0).max() > 0.1
    assert len(set(result.argmax(axis=1))) > 1


@KERAS
def test_engines_agree_with_tensorflow(network: Any, engine: Engine) -> None:
    expected = TensorFlowEngine(network).predict(pixels(64))
    result = engine.predict(pixels(64))
    np.testing.assert_allclose(result, expected, atol=TOLERANCES[engine.precision])
    # At random it would be one in five.
    assert (result.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9


@KERAS
def test_temperature_changes_confidence_but_not_the_first_label(
    network: Any, engine: Engine, make: Callable[..., Engine]
) -> None:
    images = pixels(32)
    plain = engine.predict(images)
    sharp = make(network, temperature=0.5).predict(images)
    soft = make(network, temperature=4.0).predict(images)
    assert (sharp.max(axis=1) > plain.max(axis=1)).all()
    assert (soft.max(axis=1) < plain.max(axis=1)).all()
    np.testing.assert_array_equal(sharp.argmax(axis=1), plain.argmax(axis=1))
    np.testing.assert_array_equal(soft.argmax(axis=1), plain.argmax(axis=1))
    # softmax(z / T) is softmax(z) to the power of 1/T, scaled to one.
    powers = plain.astype(float) ** 0.25
    np.testing.assert_allclose(soft, powers / powers.sum(axis=1, keepdims=True), atol=1e-4)


@KERAS
def test_predictions_do_not_depend_on_the_batch(engine: Engine) -> None:
    images = pixels(32)
    alone = np.concatenate([engine.predict(image[np.newaxis]) for image in images])
    np.testing.assert_allclose(alone, engine.predict(images), atol=1e-5)


@KERAS
def test_equal_images_get_equal_predictions(
    network: Any, engine: Engine, make: Callable[..., Engine]
) -> None:
    once = engine.predict(pixels(7))
    np.testing.assert_array_equal(engine.predict(pixels(7)), once)
    np.testing.assert_array_equal(make(network).predict(pixels(7)), once)


@KERAS
def test_threads_get_the_same_predictions(engine: Engine) -> None:
    batches = [pixels(1 + number % 5, seed=number) for number in range(64)]
    expected = [engine.predict(batch) for batch in batches]
    with ThreadPoolExecutor(16) as pool:
        result = list(pool.map(engine.predict, batches))
    for one, other in zip(result, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@KERAS
def test_first_calls_can_be_concurrent(
    network: Any, engine: Engine, make: Callable[..., Engine]
) -> None:
    fresh = make(network)
    with ThreadPoolExecutor(8) as pool:
        result = list(pool.map(fresh.predict, [pixels(2)] * 8))
    for confidences in result:
        np.testing.assert_allclose(confidences, engine.predict(pixels(2)), atol=1e-6)


@KERAS
def test_any_memory_order_is_accepted(engine: Engine) -> None:
    images = pixels(4)
    flipped = images[:, ::-1]
    assert not flipped.flags.c_contiguous
    np.testing.assert_array_equal(engine.predict(flipped), engine.predict(flipped.copy()))


@KERAS
def test_a_padding_engine_compiles_only_at_the_start(network: Any) -> None:
    engine = TensorFlowEngine(network, sizes=(16, 1, 4))
    assert engine.programs == 3
    for count in range(1, 40):
        engine.predict(pixels(count))
    assert engine.programs == 3


@KERAS
def test_without_padding_one_program_takes_every_size(network: Any) -> None:
    engine = TensorFlowEngine(network)
    for count in range(1, 10):
        engine.predict(pixels(count))
    assert engine.programs == 1


@KERAS
def test_padding_and_division_keep_the_predictions(network: Any) -> None:
    exact = TensorFlowEngine(network).predict(pixels(37))
    engine = TensorFlowEngine(network, sizes=(4, 16))
    for count in (1, 3, 4, 5, 16, 17, 37):
        np.testing.assert_allclose(engine.predict(pixels(37)[:count]), exact[:count], atol=1e-5)


@KERAS
def test_xla_gives_the_same_predictions(network: Any) -> None:
    """XLA compiles for the CPU, as there is no GPU: the same graph, the same padding."""
    engine = TensorFlowEngine(network, sizes=(1, 4), xla=True)
    np.testing.assert_allclose(
        engine.predict(pixels(6)), TensorFlowEngine(network).predict(pixels(6)), atol=1e-5
    )
    assert engine.programs == 2


def test_no_usage_statistics_are_sent() -> None:
    """OpenVINO and NNCF would send usage statistics if their telemetry package were importable."""
    code = """
import pintag.models.engines.openvino
import openvino.tools.ovc.telemetry_utils, nncf.telemetry.wrapper
import sys
assert openvino.tools.ovc.telemetry_utils.tm.__name__.endswith("telemetry_stub")
from nncf.telemetry import wrapper
assert isinstance(wrapper.telemetry, wrapper.NNCFTelemetryStub)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


WRONG: dict[str, npt.NDArray[Any]] = {
    "floats": np.zeros((1, SIZE, SIZE, 3), np.float32),
    "wider integers": np.zeros((1, SIZE, SIZE, 3), np.int64),
    "one image without a batch": np.zeros((SIZE, SIZE, 3), np.uint8),
    "another size": np.zeros((1, SIZE, SIZE + 1, 3), np.uint8),
    "transparency": np.zeros((1, SIZE, SIZE, 4), np.uint8),
    "channels first": np.zeros((1, 3, SIZE, SIZE), np.uint8),
    "nothing": np.zeros((), np.uint8),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_arrays_of_another_type_or_shape_are_refused(wrong: npt.NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"expected uint8\[N,32,32,3\], got") as caught:
        check_batch(wrong, SIZE)
    assert f"{wrong.dtype}{list(wrong.shape)}" in str(caught.value)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="empty batch"):
        check_batch(pixels(0), SIZE)


@KERAS
def test_an_engine_refuses_what_the_check_refuses(engine: Engine) -> None:
    for wrong in (*WRONG.values(), pixels(0)):
        with pytest.raises(ValueError, match=r"expected uint8|empty batch"):
            engine.predict(wrong)


@KERAS
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_other_images_in_a_batch_change_nothing(engine: Engine, data: st.DataObject) -> None:
    """An image gets the same prediction in every batch and position."""
    seeds = data.draw(st.lists(st.integers(0, 1000), min_size=1, max_size=40), label="images")
    position = data.draw(st.integers(0, len(seeds) - 1), label="position")
    batch = np.concatenate([pixels(1, seed) for seed in seeds])
    alone = engine.predict(batch[position : position + 1])[0]
    np.testing.assert_allclose(engine.predict(batch)[position], alone, atol=1e-5)
