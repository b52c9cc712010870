"""Choose and build the engine of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag.core.errors import BundleError
from pintag.models import bundle, networks
from pintag.models.engines.tensorflow import TensorFlowEngine
from tests.pintag.bundles import PIXELS, RECORD, SPEC, optimized, save

pytestmark = pytest.mark.keras


def test_the_fastest_engine_is_chosen(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "model"
    assert save(path, network).choose() == ("tensorflow", "fp32")
    assert optimized(path, network, "fp32").choose() == ("openvino", "fp32")
    assert optimized(path, network, "fp32", "int8").choose() == ("openvino", "int8")


@pytest.mark.parametrize(
    ("kind", "precision", "chosen"),
    [
        ("auto", "fp32", ("openvino", "fp32")),
        ("openvino", "fp32", ("openvino", "fp32")),
        ("openvino", "auto", ("openvino", "int8")),
        ("auto", "int8", ("openvino", "int8")),
        ("tensorflow", "auto", ("tensorflow", "fp32")),
        ("tensorflow", "fp32", ("tensorflow", "fp32")),
    ],
)
def test_an_engine_can_be_requested(
    network: Any, tmp_path: Path, kind: Any, precision: Any, chosen: tuple[str, str]
) -> None:
    created = optimized(tmp_path / "model", network, "fp32", "int8")
    assert created.choose(kind, precision) == chosen
    engine = created.engine(created.choose(kind, precision))
    assert (engine.name, engine.precision) == chosen


@pytest.mark.parametrize(
    ("precision", "chosen"),
    [("auto", ("tensorflow", "fp16")), ("fp32", ("tensorflow", "fp32")), ("int8", None)],
)
def test_tensorflow_is_chosen_on_a_gpu(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Any, chosen: Any
) -> None:
    """The choice on a machine with a GPU; the engine itself is not run."""
    created = optimized(tmp_path / "model", network, "fp32", "int8")
    monkeypatch.setattr(bundle, "has_gpu", lambda: True)
    assert created.choose("auto", precision) == (chosen or ("openvino", "int8"))
    assert created.choose("openvino") == ("openvino", "int8")


def test_half_precision_and_padding_change_predictions_little(
    network: Any, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine for a GPU, compiled by XLA for this CPU."""
    monkeypatch.setattr(bundle, "has_gpu", lambda: True)
    monkeypatch.setattr(bundle, "GPU_BATCHES", (1, 4))
    engine = bundle.load(saved).engine()
    assert (engine.name, engine.precision) == ("tensorflow", "fp16")
    expected = TensorFlowEngine(network, temperature=1.5).predict(PIXELS)
    np.testing.assert_allclose(engine.predict(PIXELS), expected, atol=0.02)
    # The dtype policy of the process is restored.
    assert networks.build(SPEC).compute_dtype == "float32"


def test_a_missing_openvino_model_error_names_the_command(saved: Path) -> None:
    with pytest.raises(BundleError, match=r"no model for OpenVINO; add OpenVINO models with"):
        bundle.load(saved).choose("openvino")
    with pytest.raises(BundleError, match="no int8 model"):
        bundle.load(saved).choose("auto", "int8")


@pytest.mark.parametrize(
    ("images", "loosen"),
    [(90, ", or loosen max_drop or min_agreement of `pintag optimize`"), (0, "")],
)
def test_a_missing_int8_model_error_has_the_reason_and_what_helps(
    network: Any, tmp_path: Path, images: int, loosen: str
) -> None:
    reason = "accuracy falls from 90.00% to 10.00%"
    refused = RECORD.model_copy(update={"refused": reason, "images": images})
    created = optimized(tmp_path / "model", network, "fp32", int8=refused)
    assert created.choose() == ("openvino", "fp32")
    with pytest.raises(BundleError) as raised:
        created.choose("openvino", "int8")
    assert str(raised.value).endswith(
        f"has no int8 model for OpenVINO ({reason}); set precision=auto or precision=fp32{loosen}"
    )


def test_openvino_predicts_like_the_network(network: Any, tmp_path: Path) -> None:
    created = bundle.load(optimized(tmp_path / "model", network, "fp32").path)
    expected = TensorFlowEngine(network, temperature=1.5).predict(PIXELS)
    np.testing.assert_allclose(created.engine().predict(PIXELS), expected, atol=1e-5)


def test_an_invalid_graph_file_is_reported(network: Any, tmp_path: Path) -> None:
    created = optimized(tmp_path / "model", network, "fp32")
    (created.path / "openvino-fp32.xml").write_text("<net/>")
    with pytest.raises(BundleError, match=r"openvino-fp32\.xml: "):
        created.engine()
