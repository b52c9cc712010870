"""The folder of a study: what was asked, what is done, and what it took."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pintag import files
from pintag.errors import TrainingError
from train import workspace
from train.outcomes import Outcomes

_REQUEST, _PROGRESS = "request.json", "progress.json"


class Ledger:
    """Where each part of a study is written as soon as it is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def outcomes(self) -> Outcomes:
        """Of the trials that have ended."""
        return Outcomes(self.folder / "outcomes")

    @property
    def bundle(self) -> Path:
        """The winner."""
        return self.folder / "bundle"

    def model(self, name: str) -> Path:
        """The bundle of a model that was fitted for itself."""
        return self.folder / "models" / name

    def claim(self, request: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Take the folder, new or to go on in.

        Args:
            request: plain JSON; one that goes on must be the same.

        Raises:
            TrainingError: something stands in the way, or nothing can be written there.
        """
        if resume:
            workspace.check_same(self.folder / _REQUEST, request)
        elif self.folder.exists() and any(self.folder.iterdir()):
            self._clear(overwrite)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self.folder / _REQUEST, json.dumps(request, indent=2) + "\n")
        except OSError as error:
            raise TrainingError(f"{self.folder}: cannot be written: {error.strerror}") from error

    def write(self, name: str, content: bytes | str) -> None:
        """A file of the study, whole or not at all."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, content)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall seconds of the block to those of a stage, however it ends."""
        started = time.perf_counter()
        try:
            yield
        finally:
            before = self.noted("stages").get(name, 0.0)
            self.note("stages", name, before + time.perf_counter() - started)

    def note(self, kind: str, name: str, value: Any) -> None:
        """Keep a value of JSON for the study that goes on."""
        progress = self._progress()
        progress.setdefault(kind, {})[name] = value
        self.write(_PROGRESS, json.dumps(progress, indent=1) + "\n")

    def noted(self, kind: str) -> dict[str, Any]:
        """What was kept, by name."""
        found: dict[str, Any] = self._progress().get(kind, {})
        return found

    def _progress(self) -> dict[str, Any]:
        path = self.folder / _PROGRESS
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def _clear(self, overwrite: bool) -> None:
        if not (self.folder / _REQUEST).exists():
            raise TrainingError(f"{self.folder} exists and is no study; choose another --out")
        if not overwrite:
            raise TrainingError(
                f"{self.folder} holds a study; give --resume to go on with it, or --overwrite to"
                " start again"
            )
        shutil.rmtree(self.folder)
