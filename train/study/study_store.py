"""The folder of a study: its request, its results, and the time of each stage."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pintag.core import files
from pintag.core.errors import TrainingError
from pintag.train.fit import workspace
from pintag.train.study.trial_results import TrialResults

_REQUEST, _PROGRESS = "request.json", "progress.json"


class StudyStore:
    """Reads and writes the files of a study. Every part is written as soon as it is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def trial_results(self) -> TrialResults:
        """The results of all finished trials."""
        return TrialResults(self.folder / "outcomes")

    @property
    def bundle(self) -> Path:
        """The bundle of the winner."""
        return self.folder / "bundle"

    def model(self, name: str) -> Path:
        """Return the path of a fine-tuned model's bundle."""
        return self.folder / "models" / name

    @property
    def is_begun(self) -> bool:
        """Whether there is a study to resume."""
        return (self.folder / _REQUEST).exists()

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Check, before the images are read, that the study may be started or resumed.

        Raises:
            TrainingError: the folder holds something else.
        """
        workspace.check_parent(self.folder)
        if resume and self.is_begun:
            workspace.read_object(self.folder / _REQUEST)
        elif self._is_used():
            if not self.is_begun:
                raise TrainingError(
                    f"{self.folder} exists and is not a study; choose another --out"
                )
            if not overwrite:
                raise TrainingError(
                    f"{self.folder} holds a study; give --resume to continue it, or --overwrite to"
                    " start again"
                )

    def claim(self, request: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Create the folder, or check that the study in it can be resumed.

        Args:
            request: plain JSON; a resumed study must have the same request.

        Raises:
            TrainingError: the folder holds something else, or it cannot be written.
        """
        self.check(resume=resume, overwrite=overwrite)
        if resume and self.is_begun:
            workspace.check_same(self.folder / _REQUEST, request)
        elif self._is_used():
            shutil.rmtree(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self.folder / _REQUEST, json.dumps(request, indent=2) + "\n")
        except OSError as error:
            raise TrainingError(
                f"{self.folder}: cannot be written: {files.reason(error)}"
            ) from error

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file of the study atomically."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, content)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall seconds of the block to those of a stage, even after an error."""
        started = time.perf_counter()
        try:
            yield
        finally:
            previous = self.recorded("stages").get(stage, 0.0)
            self.record("stages", stage, previous + time.perf_counter() - started)

    def record(self, kind: str, name: str, value: Any) -> None:
        """Store a JSON value, so that a resumed study can read it."""
        progress = self._progress()
        progress.setdefault(kind, {})[name] = value
        self._save(progress)

    def recorded(self, kind: str) -> dict[str, Any]:
        """Return the stored values of a kind, by name."""
        values: dict[str, Any] = self._progress().get(kind, {})
        return values

    def forget(self, kind: str, name: str | None = None) -> None:
        """Remove the stored value `name` of a kind, or all its values."""
        progress = self._progress()
        if name is None:
            progress.pop(kind, None)
        else:
            progress.get(kind, {}).pop(name, None)
        self._save(progress)

    def _progress(self) -> dict[str, Any]:
        path = self.folder / _PROGRESS
        return workspace.read_object(path) if path.exists() else {}

    def _save(self, progress: dict[str, Any]) -> None:
        self.write(_PROGRESS, json.dumps(progress, indent=1) + "\n")

    def _is_used(self) -> bool:
        return self.folder.exists() and any(self.folder.iterdir())
