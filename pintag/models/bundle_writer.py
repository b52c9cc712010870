"""Write a bundle: after training (`save`), and again with OpenVINO models (`replace_openvino`)."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pintag.core import files
from pintag.core.errors import BundleError
from pintag.core.version import library_version
from pintag.data.labels import Labels
from pintag.models.bundle import ModelBundle, sha256
from pintag.models.engines.openvino import Precision
from pintag.models.manifest import MANIFEST, WEIGHTS, EngineRecord, Manifest
from pintag.models.networks import NetworkSpec

if TYPE_CHECKING:
    import keras

_LIBRARIES = ("pintag", "keras", "tensorflow", "ray", "numpy", "pillow")


def save(
    path: Path,
    network: keras.Model,
    spec: NetworkSpec,
    labels: Labels,
    *,
    temperature: float,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    data: Mapping[str, Any],
    name: str | None = None,
    extra: Mapping[str, bytes] | None = None,
) -> ModelBundle:
    """Write a bundle atomically, replacing any bundle at `path`.

    Its version is a digest of everything that determines its predictions. `extra` has further
    files by name (figures, tables); the manifest lists their SHA-256 as well.

    Raises:
        BundleError: the folder cannot be written.
    """
    try:
        with files.atomic_folder(path) as folder:
            network.save_weights(folder / WEIGHTS)
            for file, content in (extra or {}).items():
                (folder / file).write_bytes(content)
            manifest = Manifest(
                **_model_fields(network, spec, labels, temperature),
                **_provenance(),
                name=name or spec.backbone,
                metrics=dict(metrics),
                training=dict(training),
                data=dict(data),
                files=_digests(folder),
            )
            _write_manifest(folder, manifest)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {files.reason(error)}") from error
    return ModelBundle(path, manifest)


def _provenance() -> dict[str, Any]:
    """The time of writing, and the versions of the libraries."""
    return {
        "created": datetime.now(UTC).replace(microsecond=0),
        "libraries": {library: library_version(library) for library in _LIBRARIES},
    }


def replace_openvino(
    bundle: ModelBundle, content: Mapping[str, bytes], records: Mapping[Precision, EngineRecord]
) -> ModelBundle:
    """Rewrite a bundle atomically, with these OpenVINO models instead of its own.

    Args:
        content: the models' files by name.
        records: the models' scores, and the reason if a model is missing.

    Returns:
        The bundle with another version, because its predictions may differ.

    Raises:
        BundleError: the folder cannot be written.
    """
    kept = [name for name in bundle.manifest.files if not name.startswith("openvino-")]
    # The layer numbers in a graph file differ from run to run, so the version is of weights only.
    weights = sorted(name for name in content if name.endswith(".bin"))
    try:
        with files.atomic_folder(bundle.path) as folder:
            for name in kept:
                shutil.copy(bundle.path / name, folder / name)
            for name, data in content.items():
                (folder / name).write_bytes(data)
            digests = _digests(folder)
            version = _optimized_version(bundle, [digests[name] for name in weights])
            changes = {"version": version, "openvino": dict(records), "files": digests}
            manifest = bundle.manifest.model_copy(update=changes)
            _write_manifest(folder, manifest)
    except OSError as error:
        raise BundleError(f"{bundle.path}: cannot be written: {files.reason(error)}") from error
    return ModelBundle(bundle.path, manifest)


def _optimized_version(bundle: ModelBundle, digests: Sequence[str]) -> str:
    """The version of a bundle with other OpenVINO models, whose weights have these digests."""
    base = bundle.manifest.version.partition("-")[0]
    return f"{base}-{hashlib.sha256(''.join(digests).encode()).hexdigest()[:6]}"


def _model_fields(
    network: keras.Model, spec: NetworkSpec, labels: Labels, temperature: float
) -> dict[str, Any]:
    """The fields of a manifest that determine predictions, and their digest."""
    return {
        "version": _version(network, spec, labels, temperature),
        "labels": labels.names,
        "network": spec,
        "preprocessing": spec.preprocessing,
        "temperature": temperature,
    }


def _digests(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file) for file in sorted(folder.iterdir())}


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    files.write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def _version(network: keras.Model, spec: NetworkSpec, labels: Labels, temperature: float) -> str:
    """A digest that is equal for equal predictions.

    It does not use the weights file, in which Keras numbers layers differently from run to run.
    """
    parts = [spec.model_dump_json(), *labels, repr(temperature)]
    digest = hashlib.sha256("\n".join(parts).encode())
    for variable in network.weights:
        digest.update(np.asarray(variable).tobytes())
    return digest.hexdigest()[:12]
