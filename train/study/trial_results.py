"""The results of finished trials on disk, one file per trial."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from pintag.core import files
from pintag.core.errors import TrainingError
from pintag.train.study.learners import TrialResult

# The name of the array that has the other fields as JSON. Version 0.1 chose this name.
_FIELDS = "told"


class TrialResults:
    """A folder with the results of all trials that have succeeded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def write(self, name: str, encoded: bytes) -> None:
        """Write an encoded result atomically."""
        files.write_atomic(self._path(name), encoded)

    def read(self, name: str) -> TrialResult:
        """Return the result of a trial that has succeeded.

        Raises:
            TrainingError: its file is damaged.
        """
        path = self._path(name)
        try:
            return decode(path.read_bytes())
        # NumPy raises them for files that are not archives, or that lack an array.
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{path}: damaged; delete it, and the study fits this trial again with --resume"
            ) from error

    def remove_starting(self, prefix: str) -> None:
        """Remove the results of all trials whose names start with `prefix`."""
        for path in self.folder.glob("*.npz"):
            if path.name.startswith(prefix):
                path.unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


def encode(result: TrialResult) -> bytes:
    """Return a result as the content of an `.npz` file."""
    fields = {
        "training_accuracy": result.training_accuracy,
        "parameters": result.parameters,
        "history": result.history,
        "seconds": result.seconds,
    }
    arrays = {"validation": result.validation, "test": result.test}
    buffer = io.BytesIO()
    np.savez(buffer, **{_FIELDS: np.array(json.dumps(fields))}, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def decode(encoded: bytes) -> TrialResult:
    """Return the result that `encode` encoded."""
    with np.load(io.BytesIO(encoded), allow_pickle=False) as arrays:
        fields = json.loads(str(arrays[_FIELDS]))
        fields["history"] = tuple(fields["history"])
        return TrialResult(validation=arrays["validation"], test=arrays["test"], **fields)
