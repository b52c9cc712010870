"""What trials came to, on disk: a file for each that has ended well."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from pintag import files
from train.learners import Outcome


class Outcomes:
    """A folder of outcomes, a file for each trial that has ended well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def write(self, name: str, encoded: bytes) -> None:
        """Keep an encoded outcome; the file appears whole or not at all."""
        files.write_atomic(self._path(name), encoded)

    def read(self, name: str) -> Outcome:
        """The outcome of a trial that has ended well."""
        return decode(self._path(name).read_bytes())

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


def encode(outcome: Outcome) -> bytes:
    """As a file of arrays, and JSON for the rest."""
    told = {
        "training_accuracy": outcome.training_accuracy,
        "parameters": outcome.parameters,
        "history": outcome.history,
        "seconds": outcome.seconds,
    }
    buffer = io.BytesIO()
    np.savez(
        buffer, told=np.array(json.dumps(told)), validation=outcome.validation, test=outcome.test
    )
    return buffer.getvalue()


def decode(encoded: bytes) -> Outcome:
    """What was encoded."""
    with np.load(io.BytesIO(encoded), allow_pickle=False) as arrays:
        told = json.loads(str(arrays["told"]))
        told["history"] = tuple(told["history"])
        return Outcome(validation=arrays["validation"], test=arrays["test"], **told)
