"""`bundle.json`: the content of a bundle, the training of the model, and its scores."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pintag.core import config
from pintag.core.config import Strict
from pintag.core.errors import BundleError, ConfigError, DataError
from pintag.core.wrong_values import matching
from pintag.data.labels import Labels
from pintag.models.engines.openvino import Precision
from pintag.models.networks import NetworkSpec

MANIFEST, WEIGHTS = "bundle.json", "network.weights.h5"

Sha256 = Annotated[str, matching("[0-9a-f]{64}", "must be a SHA-256, 64 hexadecimal digits")]
ModelName = Annotated[
    str,
    matching(
        "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        "must be at most 64 letters, digits, dots, underscores and hyphens, such as pins-2",
    ),
]


def model_name(folder: Path, default: str) -> str:
    """The name of a model that is written to a folder: the folder's, without other characters."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).lstrip("._-")[:64]
    return name or default


class EngineRecord(Strict):
    """Scores of an OpenVINO model on the validation split; None: there is no model to score."""

    accuracy: float | None = None
    agreement: float | None = None
    """Share of the images with the same first label as the original network predicts."""
    images: int = 0
    refused: str | None = None
    """Why `pintag optimize` left the model out of the bundle; None: it is in the bundle."""


class Manifest(Strict):
    """The content of `bundle.json`, in format 1."""

    format: Literal[1] = 1
    name: ModelName
    version: ModelName
    created: datetime
    labels: tuple[str, ...]
    network: NetworkSpec
    preprocessing: str
    temperature: float = Field(gt=0, allow_inf_nan=False)
    metrics: dict[str, Any]
    """Scores by split; see `pintag.evaluation.metrics.Evaluation`."""
    training: dict[str, Any]
    """The training configuration."""
    data: dict[str, Any]
    """The data set: its fingerprint, image counts, and whether the images are synthetic."""
    libraries: dict[str, str]
    openvino: dict[Precision, EngineRecord] = Field(default_factory=dict)
    """Results of `pintag optimize` by precision."""
    files: dict[str, Sha256]
    """SHA-256 of every other file of the bundle, by its relative path."""

    @field_validator("files")
    @classmethod
    def _check_paths(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise ValueError(f"file {name!r} lies outside the bundle")
        if WEIGHTS not in files:
            raise ValueError(f"{WEIGHTS} is not listed")
        return files

    @model_validator(mode="after")
    def _check_labels(self) -> Manifest:
        try:
            count = len(Labels(self.labels))
        except DataError as error:
            raise ValueError(str(error)) from error
        if count != self.network.num_labels:
            raise ValueError(
                f"there are {count} labels, but the network has {self.network.num_labels} outputs"
            )
        return self


def parse(content: bytes, source: str) -> Manifest:
    """Parse and validate the bytes of a `bundle.json`.

    Args:
        source: the name of the file in error messages.

    Raises:
        BundleError: it is not JSON, or not a valid manifest.
    """
    try:
        return config.parse(Manifest, json.loads(content), source=source)
    # RecursionError: JSON nested a thousand levels deep.
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{source}: cannot be read: {error}") from error
    except ConfigError as error:
        raise BundleError(str(error)) from error
