"""Versions of a model in a folder, and which of them serves."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pintag import bundle, registry
from pintag.errors import BundleError
from pintag.networks import NetworkSpec


def made(place: Path, version: str) -> Path:
    """A bundle that can be verified, and whose weights are of no network."""
    place.mkdir()
    (place / bundle.WEIGHTS).write_bytes(version.encode())
    manifest = bundle.Manifest(
        name="pins",
        version=version,
        created=datetime(2026, 1, len(version), tzinfo=UTC),
        labels=("art", "food"),
        network=NetworkSpec(backbone="basic_cnn", input_size=32, widths=(8,), num_labels=2),
        preprocessing="none",
        temperature=1,
        metrics={"test": {"accuracy": 0.5}},
        training={},
        data={},
        libraries={},
        files={bundle.WEIGHTS: hashlib.sha256(version.encode()).hexdigest()},
    )
    (place / bundle.MANIFEST).write_text(manifest.model_dump_json())
    return place


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    return [made(tmp_path / name, name) for name in ("one", "two")]


@pytest.fixture
def folder(bundles: list[Path], tmp_path: Path) -> Path:
    """A registry of both."""
    for each in bundles:
        registry.add(each, tmp_path / "models")
    return tmp_path / "models"


def test_the_first_version_serves_until_another_is_used(folder: Path) -> None:
    assert registry.resolve(folder) == folder / "one"
    registry.use("two", folder)
    assert registry.resolve(folder) == folder / "two"
    assert {each.name: each.is_current for each in registry.versions(folder)} == {
        "one": False,
        "two": True,
    }


def test_a_bundle_by_itself_is_what_it_is(bundles: list[Path]) -> None:
    assert not registry.is_registry(bundles[0])
    assert registry.resolve(bundles[0]) == bundles[0]


def test_a_version_is_copied_whole_and_once(bundles: list[Path], folder: Path) -> None:
    assert bundle.load(folder / "one").manifest == bundle.load(bundles[0]).manifest
    before = (folder / "one").stat().st_ino
    assert registry.add(bundles[0], folder) == "one"
    assert (folder / "one").stat().st_ino == before


def test_a_damaged_bundle_is_neither_added_nor_used(bundles: list[Path], folder: Path) -> None:
    (bundles[0] / bundle.WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(BundleError, match=bundle.WEIGHTS):
        registry.add(bundles[0], folder / "other")
    assert not (folder / "other").exists()
    (folder / "two" / bundle.WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(BundleError, match=bundle.WEIGHTS):
        registry.use("two", folder)
    assert registry.resolve(folder) == folder / "one"


@pytest.mark.parametrize("name", ["three", "", ".", "..", "../models/one", "/etc"])
def test_a_version_that_there_is_not_is_refused_with_those_there_are(
    folder: Path, name: str
) -> None:
    with pytest.raises(BundleError, match="there are one, two"):
        registry.use(name, folder)
    (folder / registry.CURRENT).write_text(name)
    with pytest.raises(BundleError, match="there are one, two"):
        registry.resolve(folder)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no registry of models"):
        registry.versions(tmp_path)
