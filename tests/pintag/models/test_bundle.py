"""Load a bundle: verification, the network, the manifest's values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag.core.errors import BundleError
from pintag.models import bundle, networks
from pintag.models.engines.tensorflow import TensorFlowEngine
from pintag.models.manifest import MANIFEST, WEIGHTS
from tests.pintag.bundles import LABELS, PIXELS, SPEC, contents, rewrite, save

pytestmark = pytest.mark.keras


def test_a_loaded_bundle_predicts_like_the_saved_network(network: Any, saved: Path) -> None:
    expected = TensorFlowEngine(network, temperature=1.5).predict(PIXELS)
    assert np.ptp(expected, axis=0).max() > 0.1
    loaded = bundle.load(str(saved))
    np.testing.assert_array_equal(loaded.engine().predict(PIXELS), expected)
    np.testing.assert_array_equal(loaded.network()(PIXELS), network(PIXELS))


def test_a_transfer_network_is_restored_exactly(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"backbone": "mobilenet", "alpha": 0.25})
    network = networks.build(spec)
    # A trained backbone has other statistics than a new one.
    for variable in network.weights:
        if variable.path.endswith("moving_variance"):
            variable.assign(variable * 0.01)
    loaded = save(tmp_path / "model", network, spec=spec).network()
    expected = np.array(network(PIXELS))
    assert np.ptp(expected, axis=0).max() > 0
    np.testing.assert_array_equal(loaded(PIXELS), expected)


def test_a_loaded_bundle_has_all_saved_values(saved: Path) -> None:
    loaded = bundle.load(saved)
    manifest = loaded.manifest
    assert loaded.path == saved
    assert loaded.labels == LABELS
    assert manifest.network == SPEC
    assert (manifest.name, manifest.temperature) == ("basic_cnn", 1.5)
    assert manifest.preprocessing == "pixels / 255"
    assert manifest.metrics == {"test": {"accuracy": 0.5}}
    assert manifest.training == {"config": {"seed": 3}}
    assert manifest.data == {"fingerprint": "f" * 64, "synthetic": True}
    assert set(manifest.files) == {WEIGHTS, "confusion.png", "history.json"}
    assert {"pintag", "keras", "tensorflow"} <= set(manifest.libraries)
    assert manifest.created.utcoffset() is not None


def test_save_and_load_return_equal_bundles(network: Any, tmp_path: Path) -> None:
    assert save(tmp_path / "model", network, name="pins-2") == bundle.load(tmp_path / "model")


def test_a_bundle_can_be_moved(saved: Path, tmp_path: Path) -> None:
    moved = saved.rename(tmp_path / "ünder [another] name")
    assert bundle.load(moved).engine().predict(PIXELS).shape == (5, 3)


def test_a_bundle_contains_nothing_executable(saved: Path) -> None:
    files = contents(saved)
    assert set(files) == {MANIFEST, WEIGHTS, "confusion.png", "history.json"}
    assert files[WEIGHTS].startswith(b"\x89HDF")
    for content in files.values():
        # Pickles of protocol 2 and later start with these bytes; Keras marks code with these names.
        assert not content.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
        assert b"lambda" not in content
        assert b"class_name" not in content


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", [WEIGHTS, "confusion.png"])
@pytest.mark.parametrize(
    "alter",
    [flip_a_byte, Path.unlink, lambda file: file.write_bytes(file.read_bytes() + b"\0")],
    ids=["a byte flipped", "missing", "a byte more"],
)
def test_an_altered_file_is_reported(
    saved: Path, name: str, alter: Callable[[Path], object]
) -> None:
    alter(saved / name)
    with pytest.raises(BundleError) as caught:
        bundle.load(saved)
    assert str(caught.value).startswith(f"{saved / name}: ")


def test_a_folder_instead_of_a_file_is_reported(saved: Path) -> None:
    (saved / "confusion.png").unlink()
    (saved / "confusion.png").mkdir()
    with pytest.raises(BundleError, match=r"confusion\.png"):
        bundle.load(saved)


def test_symbolic_links_are_followed_and_verified(saved: Path, tmp_path: Path) -> None:
    weights = (saved / WEIGHTS).rename(tmp_path / "weights")
    (saved / WEIGHTS).symlink_to(weights)
    assert bundle.load(saved).engine().predict(PIXELS).shape == (5, 3)
    flip_a_byte(weights)
    with pytest.raises(BundleError, match=WEIGHTS):
        bundle.load(saved)
    weights.unlink()
    with pytest.raises(BundleError, match=WEIGHTS):
        bundle.load(saved)


@pytest.mark.parametrize(
    "change", [{"widths": [9]}, {"input_size": 48}, {"backbone": "mobilenet"}], ids=str
)
def test_weights_of_another_network_are_reported(saved: Path, change: dict[str, object]) -> None:
    rewrite(saved, lambda content: content["network"].update(change))
    with pytest.raises(BundleError) as caught:
        bundle.load(saved).network()
    assert str(caught.value).startswith(f"{saved / WEIGHTS}: does not fit its network")


def test_an_invalid_weights_file_is_reported(saved: Path) -> None:
    junk = b"not weights"
    (saved / WEIGHTS).write_bytes(junk)
    digest = hashlib.sha256(junk).hexdigest()
    rewrite(saved, lambda content: content["files"].update({WEIGHTS: digest}))
    with pytest.raises(BundleError) as caught:
        bundle.load(saved).engine()
    assert str(caught.value).startswith(f"{saved / WEIGHTS}: does not fit its network")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "there is no such folder"),
        ("empty", "bundle.json is missing"),
        ("file", "it is a file"),
        ("file/below", "there is no such folder"),
    ],
)
def test_a_path_without_a_bundle_is_reported(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError) as caught:
        bundle.load(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: no bundle here: {reason}"
