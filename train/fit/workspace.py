"""The folder of an unfinished run: created before training and removed after it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from pintag.core import files, formatting
from pintag.core.errors import TrainingError
from pintag.models.manifest import MANIFEST
from pintag.train.config import TrainConfig
from pintag.train.fit import checkpoint

OnMessage = Callable[[dict[str, Any]], None]
"""Called with the progress messages of `pintag.train.fit.loop`."""

# The file of the workers' progress messages.
PROGRESS = "progress.jsonl"
# The folder of Ray Train, with its checkpoints, and the checkpoint of an earlier attempt.
RAY_RUN, _KEPT = "ray", "checkpoint"

_REQUEST = "request.json"
# Keys of the configuration that may differ when a run is resumed.
_CHANGEABLE = ("scaling", "cache_dir")
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Workspace:
    """`<out>.run`, the folder that holds a run until its bundle `out` is written."""

    out: Path

    @property
    def folder(self) -> Path:
        return self.out.with_name(f"{self.out.name}.run").absolute()

    @property
    def is_begun(self) -> bool:
        """Whether there is a run to resume."""
        return (self.folder / _REQUEST).exists()

    @property
    def is_complete(self) -> bool:
        """Whether the bundle is there, and no later run has begun."""
        return (self.out / MANIFEST).exists() and not self.is_begun

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Check, before the images are read, that the run may be started or resumed.

        Raises:
            TrainingError: a bundle, a run or another folder exists.
        """
        check_parent(self.out)
        resume = resume and self.is_begun
        if self.out.exists() and not overwrite and not resume:
            raise TrainingError(f"{self.out} exists; choose another --out, or give --overwrite")
        if self.out.exists() and not (self.out / MANIFEST).exists():
            raise TrainingError(f"{self.out} exists and is not a bundle; choose another --out")
        if resume:
            read_object(self.folder / _REQUEST)
        elif not overwrite:
            self._refuse_used()

    def claim(
        self, config: TrainConfig, fingerprint: str, *, resume: bool, overwrite: bool
    ) -> None:
        """Create the folder, or check that the existing one can be resumed.

        Raises:
            TrainingError: a bundle, a run or another folder exists there, or it cannot be written.
        """
        # JSON turns tuples into lists; the stored request is compared in that form.
        request = json.loads(config.model_dump_json(exclude=set(_CHANGEABLE)))
        request["data"] = fingerprint
        self.check(resume=resume, overwrite=overwrite)
        if resume and self.is_begun:
            check_same(self.folder / _REQUEST, request)
        elif self.folder.exists():
            shutil.rmtree(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self.folder / _REQUEST, json.dumps(request, indent=2))
        except OSError as error:
            raise TrainingError(
                f"{self.folder}: cannot be written: {files.reason(error)}"
            ) from error

    def _refuse_used(self) -> None:
        """Raise a TrainingError if the folder has a run or something else; it may be empty."""
        if self.is_begun:
            raise TrainingError(
                f"{self.folder} holds an unfinished run; give --resume to continue it, or "
                "--overwrite to start again"
            )
        if self.folder.exists() and any(self.folder.iterdir()):
            raise TrainingError(
                f"{self.folder} exists and is not a run that can be resumed; remove it, choose "
                "another --out, or give --overwrite"
            )

    def keep_newest_checkpoint(self) -> Path | None:
        """Return the newest complete checkpoint of earlier attempts, and remove all else of them.

        Ray Train's own list of checkpoints is not used. Ray empties the file before it writes it:
        if the disk is full or the process is killed then, the list is lost.
        """
        kept, ray_run = self.folder / _KEPT, self.folder / RAY_RUN
        # Their names have their times.
        checkpoints = sorted(ray_run.glob("checkpoint_*"), reverse=True)
        if newest := next(filter(checkpoint.is_complete, checkpoints), None):
            for older in (kept, *checkpoints[checkpoints.index(newest) + 1 :]):
                shutil.rmtree(older, ignore_errors=True)
            newest.rename(kept)
        shutil.rmtree(ray_run, ignore_errors=True)
        return kept if kept.exists() else None

    @contextmanager
    def reporting(self, on_progress: OnMessage | None) -> Iterator[None]:
        """Call `on_progress` on another thread with the workers' messages during the block."""
        if on_progress is None:
            yield
            return
        path = self.folder / PROGRESS
        path.touch()
        done = threading.Event()

        def follow(file: BinaryIO) -> None:
            finished = False
            while not finished:
                finished = done.wait(_POLL_SECONDS)
                # A line without a newline is not complete yet.
                while (line := file.readline()).endswith(b"\n"):
                    # The disk was full in the middle of a line.
                    with suppress(ValueError):
                        on_progress(json.loads(line))
                file.seek(-len(line), os.SEEK_CUR)

        with path.open("rb") as file:
            # Skip the messages of an earlier attempt.
            file.seek(0, os.SEEK_END)
            thread = threading.Thread(
                target=follow, args=(file,), name="pintag-progress", daemon=True
            )
            thread.start()
            try:
                yield
            finally:
                done.set()
                thread.join()

    @contextmanager
    def removed_unless_started(self) -> Iterator[None]:
        """Remove the folder after an error in the block, unless Ray Train has started the run."""
        try:
            yield
        except BaseException:
            if not any((self.folder / name).exists() for name in (RAY_RUN, _KEPT)):
                self.remove()
            raise

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other processes from writing a run or study at `out` during the block.

    Raises:
        TrainingError: another process is writing it, or its parent folder cannot be written.
    """
    path = out.absolute().with_name(f".{out.name}.lock")
    lock = FileLock(path, timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise TrainingError(
            f"{out}: another process is writing it; wait until it ends, or choose another --out"
        ) from error
    except OSError as error:
        raise TrainingError(f"{out}: cannot be written: {files.reason(error)}") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def check_parent(out: Path) -> None:
    """Raise a TrainingError if the folder in which `out` is, or will be, is not writable."""
    parent = next(each for each in out.absolute().parents if each.is_dir())
    if not os.access(parent, os.W_OK):
        raise TrainingError(f"{out}: {parent} cannot be written; choose another --out")


def read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object of a file in the folder of a run or study.

    Raises:
        FileNotFoundError: there is no such file.
        TrainingError: the file is damaged.
    """
    try:
        content = json.loads(path.read_bytes())
    # The content is not JSON, or not even text.
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise TrainingError(
            f"{path}: damaged: not a JSON object; start again with --overwrite, without --resume"
        )
    return content


def check_same(path: Path, request: dict[str, Any]) -> None:
    """Check that `request` equals the request stored at `path`.

    Raises:
        FileNotFoundError: there is no such file.
        TrainingError: the file is damaged, or the requests differ. The message names the keys.
    """
    stored = read_object(path)
    if changed := sorted(_differences(stored, request)):
        raise TrainingError(
            f"{path.parent} was started with other values of {', '.join(changed)};"
            " resume it with the same values"
        )


def check_space(folder: Path, needed: int, remedy: str) -> None:
    """Raise a TrainingError if `folder` is not writable or has less than `needed` bytes free.

    Args:
        remedy: how the user chooses another folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        reason = error.strerror or error
        raise TrainingError(f"{folder}: cannot be written: {reason}; {remedy}") from error
    if free < needed:
        raise TrainingError(
            f"{folder}: {formatting.size(needed)} are needed, but only {formatting.size(free)} are"
            f" free; free some space, or {remedy}"
        )


def _differences(
    stored: dict[str, Any], current: dict[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Yield the dotted keys whose values differ."""
    for key in stored.keys() | current.keys():
        old, new = stored.get(key), current.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield prefix + key
