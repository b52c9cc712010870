"""The model bundle: everything a server needs, in one folder.

`bundle.json` describes it and carries the SHA-256 of every other file; `network.weights.h5` holds
the weights and nothing else. The network is rebuilt in code from its `NetworkSpec`: no pickle, no
lambda, nothing executable is ever loaded.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, StringConstraints, field_validator, model_validator

from pintag import config, files, networks
from pintag.config import Strict
from pintag.engine import Engine, TensorFlowEngine, has_gpu
from pintag.errors import BundleError, ConfigError, DataError
from pintag.labels import Labels
from pintag.networks import NetworkSpec
from pintag.openvino_engine import OpenVINOEngine, Precision

if TYPE_CHECKING:
    import keras

MANIFEST, WEIGHTS = "bundle.json", "network.weights.h5"
_LIBRARIES = ("pintag", "keras", "tensorflow", "ray", "numpy", "pillow")

# Few, as XLA takes seconds for each, and so near each other that padding costs little.
GPU_BATCHES = (1, 4, 16, 64)

EngineKind = Literal["auto", "tensorflow", "openvino"]
PrecisionKind = Literal["auto", "fp32", "int8"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class EngineChoice(NamedTuple):
    """What predicts, and in which arithmetic."""

    kind: Literal["tensorflow", "openvino"]
    precision: Literal["fp32", "fp16", "int8"]

    def __str__(self) -> str:
        return f"{self.kind} {self.precision}"


class EngineRecord(Strict):
    """How an OpenVINO model did on the validation split, beside the network it came from."""

    accuracy: float
    agreement: float
    """Share of the images whose first label is the network's."""
    images: int
    refused: str | None = None
    """Why the bundle has no such model."""


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
    openvino: dict[Precision, EngineRecord] = Field(default_factory=dict)
    """The OpenVINO models that `pintag optimize` made, or tried to make."""
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

    def network(self, policy: str = "float32") -> keras.Model:
        """Rebuild the network and load its weights.

        Args:
            policy: of Keras, what it computes in: `float32` or `mixed_float16`.
        """
        import keras

        before = keras.config.dtype_policy()
        try:
            keras.config.set_dtype_policy(policy)
            network = networks.build(self.manifest.network)
        finally:
            keras.config.set_dtype_policy(before)
        try:
            network.load_weights(self.path / WEIGHTS)
        # HDF5 and Keras raise whatever a strange file makes them raise.
        except Exception as error:
            raise BundleError(
                f"{self.path / WEIGHTS}: does not fit its network: {error}"
            ) from error
        return network

    def engines(self) -> list[EngineChoice]:
        """Every engine that a processor can make of this bundle."""
        return [EngineChoice("tensorflow", "fp32"), *(_openvino(each) for each in self._models)]

    def choose(self, kind: EngineKind = "auto", precision: PrecisionKind = "auto") -> EngineChoice:
        """The engine for this bundle on this machine.

        Args:
            kind: `auto` is TensorFlow on a GPU, OpenVINO on a processor if the bundle has a model
                for it, and else TensorFlow.
            precision: `auto` is the fastest there is.

        Raises:
            BundleError: there is no such engine for this bundle.
        """
        fitting = [each for each in self._models if precision in ("auto", each)]
        gpu = kind != "openvino" and precision != "int8" and has_gpu()
        if fitting and (kind == "openvino" or (kind == "auto" and not gpu)):
            return _openvino(fitting[0])
        if kind == "openvino" or precision == "int8":
            wanted = "" if precision == "auto" else f"{precision} "
            record = self.manifest.openvino.get("int8")
            why = f" ({record.refused})" if record and record.refused else ""
            raise BundleError(
                f"{self.path}: has no {wanted}model for OpenVINO{why}; `pintag optimize` makes them"
            )
        return EngineChoice("tensorflow", "fp16" if gpu and precision == "auto" else "fp32")

    def engine(
        self, choice: EngineChoice | None = None, threads: int = 0, sizes: Sequence[int] = ()
    ) -> Engine:
        """Build an engine: the chosen one, or the fastest there is.

        Args:
            threads: cores of the processor that OpenVINO may use; 0 is all of them. TensorFlow's
                are the process's: see `pintag.engine.configure_threads`.
            sizes: of the batches that OpenVINO is to be fastest with. TensorFlow's are its own.

        Raises:
            BundleError: its file cannot be read.
        """
        choice = choice or self.choose()
        if choice.kind == "tensorflow":
            return self._tensorflow(choice.precision)
        assert choice.precision != "fp16"
        path = self.path / engine_file(choice.precision)
        try:
            return OpenVINOEngine(path, choice.precision, threads, sizes)
        # OpenVINO raises RuntimeError for whatever a strange file makes it raise.
        except RuntimeError as error:
            raise BundleError(f"{path}: {error}") from error

    @property
    def _models(self) -> tuple[Precision, ...]:
        """The precisions of its OpenVINO models, the fastest first."""
        known: tuple[Precision, ...] = ("int8", "fp32")
        return tuple(each for each in known if engine_file(each) in self.manifest.files)

    def _tensorflow(self, precision: str) -> TensorFlowEngine:
        temperature = self.manifest.temperature
        network = self.network("mixed_float16" if precision == "fp16" else "float32")
        if not has_gpu():
            return TensorFlowEngine(network, temperature)
        return TensorFlowEngine(network, temperature, sizes=GPU_BATCHES, xla=True)


def _openvino(precision: Precision) -> EngineChoice:
    return EngineChoice("openvino", precision)


def engine_file(precision: Precision) -> str:
    """The file of an OpenVINO model's graph; its weights lie beside it, in `.bin`."""
    return f"openvino-{precision}.xml"


def extend(
    made: ModelBundle, content: Mapping[str, bytes], records: Mapping[Precision, EngineRecord]
) -> ModelBundle:
    """Replace a bundle by one that has these OpenVINO models, and no others.

    Args:
        content: files by name.

    Returns:
        The bundle, of another version: its answers may differ.
    """
    kept = [name for name in made.manifest.files if not name.startswith("openvino-")]
    try:
        with files.atomic_folder(made.path) as folder:
            for name in kept:
                shutil.copy(made.path / name, folder / name)
            for name, data in content.items():
                (folder / name).write_bytes(data)
            digests = {file.name: _sha256(file) for file in sorted(folder.iterdir())}
            base = made.manifest.version.partition("-")[0]
            # Not of the graphs, in which layers have numbers that differ from run to run.
            told = "".join(digests[name] for name in sorted(content) if name.endswith(".bin"))
            manifest = made.manifest.model_copy(
                update={
                    "version": f"{base}-{hashlib.sha256(told.encode()).hexdigest()[:6]}",
                    "openvino": dict(records),
                    "files": digests,
                }
            )
            files.write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise BundleError(f"{made.path}: cannot be written: {error}") from error
    return ModelBundle(made.path, manifest)


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


def load(path: Path, place: str | None = None) -> ModelBundle:
    """Read a bundle and verify every file against its SHA-256.

    Args:
        place: what errors call the folder, where that is not its path.

    Raises:
        BundleError: naming the file that is missing, differs or cannot be read.
    """
    place = place or str(path)
    try:
        content = (path / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{place}: no bundle here: {MANIFEST} is missing") from error
    except OSError as error:
        raise BundleError(f"{place}/{MANIFEST}: cannot be read: {error}") from error
    manifest = parse(content, f"{place}/{MANIFEST}")
    for name, expected in manifest.files.items():
        file = path / name
        try:
            if not file.is_file():
                raise BundleError(f"{place}/{name}: listed in {MANIFEST}, and missing")
            found = _sha256(file)
        except OSError as error:
            raise BundleError(f"{place}/{name}: cannot be read: {error.strerror}") from error
        if found != expected:
            raise BundleError(
                f"{place}/{name}: its SHA-256 differs from {MANIFEST}: altered or damaged"
            )
    return ModelBundle(path, manifest)


def parse(content: bytes, source: str) -> Manifest:
    """Read a manifest.

    Raises:
        BundleError: it is none; `source` says whose it is.
    """
    try:
        return config.parse(Manifest, json.loads(content), source=source)
    # A RecursionError is JSON that is nested a thousand deep.
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{source}: cannot be read: {error}") from error
    except ConfigError as error:
        raise BundleError(str(error)) from error


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
