"""`bundle.json`: every wrong manifest is an error that names the file and the key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pintag.core.errors import BundleError
from pintag.models import bundle, manifest, registry
from pintag.models.manifest import MANIFEST, WEIGHTS
from tests.pintag.bundles import rewrite

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"weights: 1", b"\xff\xfe", b"[]", b"null", b'"text"', b"[" * 100_000, b'{"a": 1}'],
    ids=lambda content: repr(content[:12]),
)
def test_an_invalid_manifest_is_reported(saved: Path, content: bytes) -> None:
    (saved / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        bundle.load(saved)
    assert str(saved / MANIFEST) in str(caught.value)


def test_a_folder_instead_of_the_manifest_is_reported(saved: Path) -> None:
    (saved / MANIFEST).unlink()
    (saved / MANIFEST).mkdir()
    with pytest.raises(BundleError, match=r"bundle\.json: cannot be read"):
        bundle.load(saved)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"licence": "MIT"}, "unknown key 'licence'"),
        ({"format": 2}, "format"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"labels": ["food", "art", "travel"]}, "sorted"),
        ({"labels": ["art", "art", "food"]}, "unique"),
        ({"labels": ["art", "food"]}, "there are 2 labels, but the network has 3 outputs"),
        ({"name": "../x"}, "name"),
        ({"version": ""}, "version"),
        ({"created": "yesterday"}, "created"),
        ({"files": {}}, f"{WEIGHTS} is not listed"),
        ({"files": {WEIGHTS: "0" * 63}}, "files"),
        ({"files": {WEIGHTS: "F" * 64}}, "files"),
        ({"network": None}, "network"),
    ],
    ids=str,
)
def test_a_wrong_value_in_the_manifest_is_reported(
    saved: Path, change: dict[str, object], named: str
) -> None:
    rewrite(saved, lambda content: content.update(change))
    with pytest.raises(BundleError) as caught:
        bundle.load(saved)
    assert str(saved / MANIFEST) in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize("key", ["labels", "network", "temperature", "files", "version"])
def test_a_missing_key_in_the_manifest_is_reported(saved: Path, key: str) -> None:
    rewrite(saved, lambda content: content.pop(key))
    with pytest.raises(BundleError, match=key):
        bundle.load(saved)


@pytest.mark.parametrize("key", ["widths", "num_labels"])
def test_an_unknown_nested_key_gets_a_suggestion(saved: Path, key: str) -> None:
    rewrite(saved, lambda content: content["network"].update({f"{key}_": 1}))
    with pytest.raises(BundleError, match=rf"'network\.{key}_'; did you mean 'network\.{key}'"):
        bundle.load(saved)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "figures/../../secret", "..\\secret", "..", "/"]
)
def test_paths_outside_the_bundle_are_refused(saved: Path, name: str) -> None:
    (saved.parent / "secret").write_bytes(b"secret")
    rewrite(saved, lambda content: content["files"].update({name: "0" * 64}))
    with pytest.raises(BundleError, match="outside the bundle"):
        bundle.load(saved)


@pytest.mark.parametrize("name", ["", ".", "a\0b", "x" * 5000], ids=["", ".", "nul", "long"])
def test_impossible_file_names_are_refused(saved: Path, name: str) -> None:
    rewrite(saved, lambda content: content["files"].update({name: "0" * 64}))
    with pytest.raises(BundleError):
        bundle.load(saved)


# As `pintag train` and `pintag optimize` of version 0.1.0 wrote it, but for the digest.
VERSION_0_1 = """{
  "format": 1,
  "name": "sample",
  "version": "0a1b2c3d4e5f-6a7b8c",
  "created": "2026-11-20T10:00:00Z",
  "labels": ["art", "food"],
  "network": {
    "backbone": "basic_cnn", "alpha": 1.0, "input_size": 32,
    "widths": [8], "dropout": 0.0, "num_labels": 2
  },
  "preprocessing": "pixels / 255",
  "temperature": 1.25,
  "metrics": {"test": {"images": 12, "accuracy": 0.75, "macro_f1": 0.7, "ece": 0.1}},
  "training": {"config": {"seed": 0}, "seconds": {"head": 1.5}},
  "data": {"fingerprint": "f", "counts": {"train": {"art": 8, "food": 8}}, "synthetic": true},
  "libraries": {"pintag": "0.1.0", "keras": "3.15.0"},
  "openvino": {
    "fp32": {"accuracy": 0.75, "agreement": 1.0, "images": 12, "refused": null},
    "int8": {"accuracy": 0.5, "agreement": 0.5, "images": 12, "refused": "accuracy falls"}
  },
  "files": {"network.weights.h5": "DIGEST"}
}
"""


def test_a_bundle_and_a_registry_of_version_0_1_are_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "0a1b2c3d4e5f-6a7b8c"
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    (folder / MANIFEST).write_text(VERSION_0_1.replace("DIGEST", digest))
    (tmp_path / "models" / "current").write_text("0a1b2c3d4e5f-6a7b8c\n")
    loaded = registry.load(str(tmp_path / "models"))
    assert loaded == bundle.load(folder)
    assert loaded.manifest.openvino["int8"].refused == "accuracy falls"
    assert loaded.manifest.libraries["pintag"] == "0.1.0"
    assert (loaded.manifest.network.widths, loaded.manifest.temperature) == ((8,), 1.25)
    # Version 0.2 writes the same content as 0.1.
    assert loaded.manifest.model_dump(mode="json") == json.loads((folder / MANIFEST).read_text())


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("runs/pins", "pins"),
        ("runs/Süße Hunde", "S-e-Hunde"),
        (".hidden", "hidden"),
        ("runs/日本", "mobilenet"),
        (100 * "x", 64 * "x"),
        ("/", "mobilenet"),
    ],
)
def test_the_name_of_a_folder_becomes_the_name_of_its_model(folder: str, name: str) -> None:
    assert manifest.model_name(Path(folder), "mobilenet") == name
