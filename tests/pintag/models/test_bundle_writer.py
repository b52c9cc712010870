"""Write a bundle: atomically, readable, and with a version that depends on predictions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pintag.core import files
from pintag.core.errors import BundleError
from pintag.data.labels import Labels
from pintag.models import bundle, bundle_writer, networks
from pintag.models.bundle import ModelBundle
from pintag.models.manifest import MANIFEST, WEIGHTS
from pintag.models.networks import NetworkSpec
from tests.pintag.bundles import SPEC, contents, optimized, save

pytestmark = pytest.mark.keras


def test_save_replaces_an_older_bundle(network: Any, saved: Path) -> None:
    save(saved, network, temperature=2.0, extra={})
    assert bundle.load(saved).manifest.temperature == 2.0
    assert set(contents(saved.parent)) == {f"model/{MANIFEST}", f"model/{WEIGHTS}"}


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_save_keeps_the_old_bundle(
    network: Any, saved: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    before = contents(saved.parent)

    def interrupted(*_: object) -> None:
        raise failure

    # The manifest is written last, when all other files are on the disk.
    monkeypatch.setattr(files, "write_atomic", interrupted)
    with pytest.raises(failure):
        save(saved, network, temperature=2.0)
    assert contents(saved.parent) == before
    assert bundle.load(saved).manifest.temperature == 1.5


def test_a_failed_write_keeps_the_old_bundle(network: Any, saved: Path) -> None:
    before = contents(saved.parent)
    # No file system allows such a long name.
    with pytest.raises(BundleError) as caught:
        save(saved, network, extra={"x" * 300: b""})
    assert str(caught.value).startswith(f"{saved}: cannot be written")
    assert contents(saved.parent) == before


@pytest.mark.parametrize("name", ["file", "file/below", "file/further/below"])
def test_a_path_that_cannot_be_written_is_reported(network: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("keep")
    with pytest.raises(BundleError) as caught:
        save(tmp_path / name, network)
    assert str(caught.value).startswith(f"{tmp_path / name}: cannot be written")
    assert contents(tmp_path) == {"file": b"keep"}


def test_all_users_can_read_a_saved_bundle(saved: Path) -> None:
    assert oct(saved.stat().st_mode & 0o555) == oct(0o555)
    for file in saved.iterdir():
        assert os.access(file, os.R_OK)
        assert file.stat().st_mode & 0o444 == 0o444


def test_equal_models_have_equal_versions(network: Any, tmp_path: Path) -> None:
    first = save(tmp_path / "one", network).manifest
    # Metadata does not change the version.
    second = save(tmp_path / "two", network, name="other", metrics={}, extra={}).manifest
    # Keras numbers the layers of a second network differently, which must not matter.
    again = networks.build(SPEC)
    for new, old in zip(again.weights, network.weights, strict=True):
        new.assign(old)
    third = save(tmp_path / "three", again).manifest
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    fourth = bundle.load(tmp_path / "copy").manifest
    assert first.version == second.version == third.version == fourth.version


def test_different_predictions_have_different_versions(network: Any, tmp_path: Path) -> None:
    other = networks.build(SPEC)
    for new, old in zip(other.weights, network.weights, strict=True):
        new.assign(old)
    other.weights[-1].assign(other.weights[-1] + 1e-3)
    wider = NetworkSpec(**(SPEC.model_dump() | {"dropout": 0.25}))
    different: list[tuple[Any, dict[str, Any]]] = [
        (network, {}),
        (other, {}),
        (network, {"labels": Labels(("art", "food", "trips"))}),
        (network, {"temperature": 1.5000001}),
        (network, {"spec": wider}),
    ]
    versions = [
        save(tmp_path / str(number), chosen, **changes).manifest.version
        for number, (chosen, changes) in enumerate(different)
    ]
    assert len(set(versions)) == len(versions)


def test_the_version_depends_on_the_openvino_weights(network: Any, tmp_path: Path) -> None:
    plain = save(tmp_path / "model", network)

    def version(created: ModelBundle, graph: bytes) -> str:
        return bundle_writer.replace_openvino(
            created, {"openvino-fp32.bin": graph}, {}
        ).manifest.version

    one, other = version(plain, b"one"), version(plain, b"other")
    assert one != other
    for each in (one, other):
        assert each.startswith(f"{plain.manifest.version}-")
    assert version(bundle.load(plain.path), b"one") == one


def test_replacing_openvino_models_keeps_other_files(network: Any, tmp_path: Path) -> None:
    created = optimized(tmp_path / "model", network, "fp32", "int8")
    assert {WEIGHTS, "confusion.png", "history.json"} < set(created.manifest.files)
    again = bundle.load(bundle_writer.replace_openvino(created, {}, {}).path)
    assert set(again.manifest.files) == {WEIGHTS, "confusion.png", "history.json"}
    assert again.manifest.openvino == {}
