"""The folder of an unfinished run: claimed before training, watched during, removed after."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pintag import bundle, files
from pintag.errors import TrainingError
from train.config import TrainConfig
from train.loop import PROGRESS

Watch = Callable[[dict[str, Any]], None]

# Where Ray Train keeps its checkpoints.
RAY_RUN = "ray"

_REQUEST = "request.json"
# What may change between an interrupted run and the one that goes on with it.
_FREE_TO_CHANGE = ("scaling", "cache_dir")
_WATCH_SECONDS = 0.1


@dataclass(frozen=True)
class Workspace:
    """`<out>.run`, where the run of a bundle `out` lives until the bundle is whole."""

    out: Path

    @property
    def folder(self) -> Path:
        return self.out.with_name(f"{self.out.name}.run").absolute()

    def claim(
        self, config: TrainConfig, fingerprint: str, *, resume: bool, overwrite: bool
    ) -> None:
        """Make the folder, or take up the one that is there.

        Raises:
            TrainingError: something stands in the way, or nothing can be written there.
        """
        # A round trip through JSON makes tuples lists, as they will be when read back.
        request = json.loads(config.model_dump_json(exclude=set(_FREE_TO_CHANGE)))
        request["data"] = fingerprint
        if self.out.exists() and not overwrite and not resume:
            raise TrainingError(f"{self.out} exists; choose another --out, or give --overwrite")
        if self.out.exists() and not (self.out / bundle.MANIFEST).exists():
            raise TrainingError(f"{self.out} exists and is no bundle; choose another --out")
        if resume:
            check_same(self.folder / _REQUEST, request)
        elif self.folder.exists():
            if not overwrite:
                raise TrainingError(
                    f"{self.folder} holds an unfinished run; give --resume to go on with it, or "
                    "--overwrite to start again"
                )
            shutil.rmtree(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self.folder / _REQUEST, json.dumps(request, indent=2))
        except OSError as error:
            raise TrainingError(f"{self.folder}: cannot be written: {error.strerror}") from error

    @contextmanager
    def watching(self, watch: Watch | None) -> Iterator[None]:
        """Hand the workers' messages to `watch`, from another thread, while the block runs."""
        if watch is None:
            yield
            return
        path = self.folder / PROGRESS
        path.touch()
        done = threading.Event()

        def follow(file: BinaryIO) -> None:
            finished = False
            while not finished:
                finished = done.wait(_WATCH_SECONDS)
                # A line without its end is still being written.
                while (line := file.readline()).endswith(b"\n"):
                    watch(json.loads(line))
                file.seek(-len(line), os.SEEK_CUR)

        with path.open("rb") as file:
            # What an earlier attempt said is old news.
            file.seek(0, os.SEEK_END)
            thread = threading.Thread(target=follow, args=(file,), name="pintag-watch", daemon=True)
            thread.start()
            try:
                yield
            finally:
                done.set()
                thread.join()

    @contextmanager
    def kept_when_begun(self) -> Iterator[None]:
        """After an error keep the folder only when there is something in it to go on from."""
        try:
            yield
        except BaseException:
            if not (self.folder / RAY_RUN).exists():
                self.remove()
            raise

    def remove(self) -> None:
        """Forget the run: its bundle is written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def check_same(path: Path, request: dict[str, Any]) -> None:
    """Refuse to go on with what was begun with another request than the one in a file.

    Raises:
        TrainingError: there is none, or it differs, by these keys.
    """
    try:
        before = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise TrainingError(f"nothing to resume: {path} is missing") from error
    if changed := sorted(_differences(before, request)):
        raise TrainingError(
            f"{path.parent} was begun with another request; different: {', '.join(changed)}"
        )


def check_space(folder: Path, needed: int) -> None:
    """Refuse a folder that cannot be written to, or lies on a disk without `needed` bytes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written: {error.strerror}") from error
    if free < needed:
        raise TrainingError(
            f"{folder}: {needed / 2**20:,.0f} MiB are needed and {free / 2**20:,.0f} MiB are free"
        )


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield prefix + key
