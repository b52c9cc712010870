"""Bundles for tests: a quick one without real weights, and a complete one of a small network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pintag.data.labels import Labels
from pintag.models import bundle_writer
from pintag.models.bundle import ModelBundle, openvino_file
from pintag.models.engines import openvino
from pintag.models.manifest import MANIFEST, WEIGHTS, EngineRecord, Manifest
from pintag.models.networks import NetworkSpec

LABELS = Labels(("art", "food", "travel"))
SPEC = NetworkSpec(backbone="basic_cnn", input_size=32, widths=(8,), dropout=0.5, num_labels=3)
# One colour per image: a network predicts almost the same for every image of pure noise.
COLOURS = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)], np.uint8)
PIXELS = np.broadcast_to(COLOURS[:, np.newaxis, np.newaxis], (5, 32, 32, 3))


def write(folder: Path, version: str) -> Path:
    """Write a bundle that can be verified and has no weights of a network.

    A longer `version` gives a later date.
    """
    folder.mkdir()
    contents = {WEIGHTS: version.encode(), "figures/loss.png": b"a picture"}
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    manifest = Manifest(
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
        files={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    return folder


def save(path: Path, network: Any, **changes: Any) -> ModelBundle:
    """Save a network as a bundle; `changes` replace arguments of `bundle_writer.save`."""
    values: dict[str, Any] = {
        "spec": SPEC,
        "labels": LABELS,
        "temperature": 1.5,
        "metrics": {"test": {"accuracy": 0.5}},
        "training": {"config": {"seed": 3}},
        "data": {"fingerprint": "f" * 64, "synthetic": True},
        "extra": {"confusion.png": b"\x89PNG picture", "history.json": b"[]"},
    }
    return bundle_writer.save(path, network, **(values | changes))


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest of a bundle."""
    content = json.loads((path / MANIFEST).read_text())
    change(content)
    (path / MANIFEST).write_text(json.dumps(content))


def contents(root: Path) -> dict[str, bytes]:
    """All files below a folder by their relative paths."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


RECORD = EngineRecord(accuracy=0.9, agreement=0.99, images=100)


def optimized(path: Path, network: Any, *precisions: Any, **records: Any) -> ModelBundle:
    """Save a bundle with OpenVINO models. All have the same graph; "int8" is only a file name."""
    bundle = save(path, network)
    model = openvino.convert(network, 1.5)
    content = {}
    for precision in precisions:
        name = openvino_file(precision)
        openvino.save(model, path.parent / name)
        for file in (path.parent / name, (path.parent / name).with_suffix(".bin")):
            content[file.name] = file.read_bytes()
    return bundle_writer.replace_openvino(
        bundle, content, dict.fromkeys(precisions, RECORD) | records
    )
