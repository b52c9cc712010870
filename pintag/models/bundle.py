"""The model bundle: everything that is needed to predict, in one folder.

`bundle.json` describes the model and has the SHA-256 of every other file. `network.weights.h5` has
weights only: the network is rebuilt in code from its `NetworkSpec`, so that nothing executable (no
pickle, no lambda) is ever loaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pintag.core.errors import BundleError
from pintag.core.types import Engine
from pintag.data.labels import Labels
from pintag.models import manifest, networks
from pintag.models.engines.openvino import OpenVINOEngine, Precision
from pintag.models.engines.tensorflow import TensorFlowEngine, has_gpu
from pintag.models.manifest import MANIFEST, WEIGHTS, Manifest

if TYPE_CHECKING:
    import keras

# Only a few sizes, because XLA needs seconds to compile each; not far apart, so that padding costs
# little time.
GPU_BATCHES = (1, 4, 16, 64)

EngineKind = Literal["auto", "tensorflow", "openvino"]
PrecisionKind = Literal["auto", "fp32", "int8"]


class EngineChoice(NamedTuple):
    """A library that predicts, and the precision of its arithmetic."""

    kind: Literal["tensorflow", "openvino"]
    precision: Literal["fp32", "fp16", "int8"]

    def __str__(self) -> str:
        return f"{self.kind} {self.precision}"


@dataclass(frozen=True)
class ModelBundle:
    """A verified bundle on a local disk."""

    path: Path
    manifest: Manifest

    @property
    def labels(self) -> Labels:
        return Labels(self.manifest.labels)

    def network(self, policy: str = "float32") -> keras.Model:
        """Rebuild the Keras network `uint8[N,S,S,3] -> float32[N,C]` logits and load its weights.

        Args:
            policy: the Keras dtype policy: `float32` or `mixed_float16`.

        Raises:
            BundleError: the weights do not fit the network.
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
        # HDF5 and Keras raise many kinds of exceptions for a file of another format.
        except Exception as error:
            raise BundleError(
                f"{self.path / WEIGHTS}: does not fit its network: {error}"
            ) from error
        return network

    def engines(self) -> list[EngineChoice]:
        """Every engine that can run this bundle on a CPU."""
        openvino = [EngineChoice("openvino", precision) for precision in self._openvino_precisions]
        return [EngineChoice("tensorflow", "fp32"), *openvino]

    def choose(self, kind: EngineKind = "auto", precision: PrecisionKind = "auto") -> EngineChoice:
        """Choose the engine for this bundle on this machine.

        Args:
            kind: `auto` is TensorFlow on a GPU. On a CPU it is OpenVINO if the bundle has an
                OpenVINO model, and TensorFlow otherwise.
            precision: `auto` is the fastest that is available.

        Raises:
            BundleError: the bundle has no such engine.
        """
        available = [
            stored for stored in self._openvino_precisions if precision in ("auto", stored)
        ]
        gpu = kind != "openvino" and precision != "int8" and has_gpu()
        if available and (kind == "openvino" or (kind == "auto" and not gpu)):
            return EngineChoice("openvino", available[0])
        if kind == "openvino" or precision == "int8":
            requested = "" if precision == "auto" else f"{precision} "
            raise BundleError(
                f"{self.path}: has no {requested}model for OpenVINO{self._openvino_hint(precision)}"
            )
        return EngineChoice("tensorflow", "fp16" if gpu and precision == "auto" else "fp32")

    def engine(
        self, choice: EngineChoice | None = None, threads: int = 0, sizes: Sequence[int] = ()
    ) -> Engine:
        """Build an engine.

        Args:
            choice: the engine; by default the one that `choose` returns.
            threads: the number of cores that OpenVINO may use; 0 is all. TensorFlow's threads are
                set for the process: see `pintag.models.engines.tensorflow.configure_threads`.
            sizes: the batch sizes that OpenVINO compiles for; TensorFlow has its own.

        Raises:
            BundleError: the engine cannot read its file.
        """
        choice = choice or self.choose()
        if choice.kind == "tensorflow":
            return self._tensorflow(choice.precision)
        assert choice.precision != "fp16"
        path = self.path / openvino_file(choice.precision)
        try:
            return OpenVINOEngine(path, choice.precision, threads, sizes)
        # OpenVINO raises RuntimeError for every file that it cannot read.
        except RuntimeError as error:
            raise BundleError(f"{path}: {error}") from error

    @property
    def _openvino_precisions(self) -> tuple[Precision, ...]:
        """The precisions of the bundle's OpenVINO models, fastest first."""
        precisions: tuple[Precision, ...] = ("int8", "fp32")
        files = self.manifest.files
        return tuple(precision for precision in precisions if openvino_file(precision) in files)

    def _openvino_hint(self, precision: str) -> str:
        """Why an OpenVINO model is missing, if that is known, and what to do."""
        record = self.manifest.openvino.get("int8")
        if record is None or not record.refused:
            return "; add OpenVINO models with `pintag optimize`"
        setting = "precision=auto or precision=fp32" if precision == "int8" else "engine=auto"
        # It has scores if it was refused for them.
        limits = ", or loosen max_drop or min_agreement of `pintag optimize`"
        return f" ({record.refused}); set {setting}{limits if record.images else ''}"

    def _tensorflow(self, precision: str) -> TensorFlowEngine:
        temperature = self.manifest.temperature
        network = self.network("mixed_float16" if precision == "fp16" else "float32")
        if not has_gpu():
            return TensorFlowEngine(network, temperature)
        return TensorFlowEngine(network, temperature, sizes=GPU_BATCHES, xla=True)


def openvino_file(precision: Precision) -> str:
    """The name of an OpenVINO model's graph file; its weights are in the `.bin` file beside it."""
    return f"openvino-{precision}.xml"


def load(path: str | os.PathLike[str], name: str | None = None) -> ModelBundle:
    """Read a bundle and verify the SHA-256 of every file.

    Args:
        path: the folder, on a local disk; see `pintag.load` for URIs.
        name: the name of the folder in error messages; by default its path.

    Raises:
        BundleError: a file is missing, altered or unreadable; the message names it.
    """
    path = Path(path)
    name = name or str(path)
    try:
        content = (path / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        found = path.is_dir() and f"{MANIFEST} is missing"
        reason = found or ("it is a file" if path.exists() else "there is no such folder")
        raise BundleError(f"{name}: no bundle here: {reason}") from error
    except OSError as error:
        raise BundleError(f"{name}/{MANIFEST}: cannot be read: {error.strerror}") from error
    parsed = manifest.parse(content, f"{name}/{MANIFEST}")
    for file, expected in parsed.files.items():
        _verify(path / file, expected, f"{name}/{file}")
    return ModelBundle(path, parsed)


def _verify(file: Path, expected: str, name: str) -> None:
    try:
        if not file.is_file():
            raise BundleError(f"{name}: the file is missing, but {MANIFEST} lists it")
        digest = sha256(file)
    except OSError as error:
        raise BundleError(f"{name}: cannot be read: {error.strerror}") from error
    if digest != expected:
        raise BundleError(
            f"{name}: its SHA-256 differs from {MANIFEST}: the file was altered or damaged"
        )


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
