"""The model bundle: everything a server needs, in one folder.

`bundle.json` describes it and carries the SHA-256 of every other file; `network.weights.h5` holds
the weights and nothing else. The network is rebuilt in code from its `NetworkSpec`: no pickle, no
lambda, nothing executable is ever loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, StringConstraints, field_validator, model_validator

from pintag import config, files, networks
from pintag.config import Strict
from pintag.engine import Engine, TensorFlowEngine
from pintag.errors import BundleError, ConfigError, DataError
from pintag.labels import Labels
from pintag.networks import NetworkSpec

if TYPE_CHECKING:
    import keras

MANIFEST, WEIGHTS = "bundle.json", "network.weights.h5"
_LIBRARIES = ("pintag", "keras", "tensorflow", "ray", "numpy", "pillow")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Manifest(Strict):
    """The content of `bundle.json`."""

    format: Literal[1] = 1
    name: Name
    version: Name
    created: datetime
    labels: tuple[str, ...]
    network: NetworkSpec
    preprocessing: str
    temperature: float = Field(gt=0, allow_inf_nan=False)
    metrics: dict[str, Any]
    """The evaluation on each split; see `pintag.evaluation.Evaluation`."""
    training: dict[str, Any]
    """The configuration that made it."""
    data: dict[str, Any]
    """Fingerprint, counts, and whether the images are synthetic."""
    libraries: dict[str, str]
    files: dict[str, Sha256]

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise ValueError(f"file {name!r} lies outside the bundle")
        if WEIGHTS not in files:
            raise ValueError(f"{WEIGHTS} is not listed")
        return files

    @model_validator(mode="after")
    def _labelled(self) -> Manifest:
        try:
            count = len(Labels(self.labels))
        except DataError as error:
            raise ValueError(str(error)) from error
        if count != self.network.num_labels:
            raise ValueError(f"{count} labels, and a network of {self.network.num_labels}")
        return self


@dataclass(frozen=True)
class ModelBundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest

    @property
    def labels(self) -> Labels:
        return Labels(self.manifest.labels)

    def network(self) -> keras.Model:
        """Rebuild the network and load its weights."""
        network = networks.build(self.manifest.network)
        try:
            network.load_weights(self.path / WEIGHTS)
        # HDF5 and Keras raise whatever a strange file makes them raise.
        except Exception as error:
            raise BundleError(
                f"{self.path / WEIGHTS}: does not fit its network: {error}"
            ) from error
        return network

    def engine(self) -> Engine:
        """The engine that serves this bundle."""
        return TensorFlowEngine(self.network(), self.manifest.temperature)


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
    """Write a bundle whole or not at all, replacing one that stands at `path`.

    Args:
        extra: further files by name (figures, tables), covered by the manifest as well.

    Returns:
        The bundle, whose version is a digest of what determines its answers.
    """
    try:
        with files.atomic_folder(path) as made:
            network.save_weights(made / WEIGHTS)
            for file, content in (extra or {}).items():
                (made / file).write_bytes(content)
            digests = {file.name: _sha256(file) for file in sorted(made.iterdir())}
            manifest = Manifest(
                name=name or spec.backbone,
                version=_version(network, spec, labels, temperature),
                created=datetime.now(UTC).replace(microsecond=0),
                labels=labels.names,
                network=spec,
                preprocessing=spec.preprocessing,
                temperature=temperature,
                metrics=dict(metrics),
                training=dict(training),
                data=dict(data),
                libraries={library: version(library) for library in _LIBRARIES},
                files=digests,
            )
            files.write_atomic(made / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {error}") from error
    return ModelBundle(path, manifest)


def load(path: Path) -> ModelBundle:
    """Read a bundle and verify every file against its SHA-256.

    Raises:
        BundleError: naming the file that is missing, differs or cannot be read.
    """
    try:
        content = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{path}: no bundle here: {MANIFEST} is missing") from error
    # A RecursionError is JSON that is nested a thousand deep.
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path / MANIFEST}: cannot be read: {error}") from error
    try:
        manifest = config.parse(Manifest, content, source=str(path / MANIFEST))
    except ConfigError as error:
        raise BundleError(str(error)) from error
    for name, expected in manifest.files.items():
        file = path / name
        try:
            if not file.is_file():
                raise BundleError(f"{file}: listed in {MANIFEST}, and missing")
            found = _sha256(file)
        except OSError as error:
            raise BundleError(f"{file}: cannot be read: {error.strerror}") from error
        if found != expected:
            raise BundleError(f"{file}: its SHA-256 differs from {MANIFEST}: altered or damaged")
    return ModelBundle(path, manifest)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _version(network: keras.Model, spec: NetworkSpec, labels: Labels, temperature: float) -> str:
    """Equal for equal answers; the file of the weights is not, as Keras numbers layers in it."""
    parts = [spec.model_dump_json(), *labels, repr(temperature)]
    digest = hashlib.sha256("\n".join(parts).encode())
    for variable in network.weights:
        digest.update(np.asarray(variable).tobytes())
    return digest.hexdigest()[:12]
