"""Bundles that can be verified, and whose weights are of no network."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from pintag import bundle
from pintag.networks import NetworkSpec


def write(place: Path, version: str) -> Path:
    """Made later, the longer the version is."""
    place.mkdir()
    contents = {bundle.WEIGHTS: version.encode(), "figures/loss.png": b"a picture"}
    for name, content in contents.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(content)
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
        files={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    )
    (place / bundle.MANIFEST).write_text(manifest.model_dump_json())
    return place
