"""Ray's errors in one line, with the remedy: Ray's own text has many lines, with tracebacks."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pintag.cluster import ray_variables
from pintag.core.errors import PintagError, first_line

log = logging.getLogger(__name__)
# Replicas, workers and actors write their own errors there.
LOGS = "ray/session_latest/logs below RAY_TMPDIR or /tmp"
LOGS_HINT = f"Ray's logs name the cause ({LOGS})"
_CREDENTIALS_HINT = (
    "this process has no token, or another one than the cluster: set RAY_AUTH_MODE=token, and "
    "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to that of its head (`ray get-auth-token` prints it "
    "there)"
)
# The words of Ray's errors about a token that is missing or wrong.
_REFUSED = ("authenticat", "token")
_BUSY_HINT = "the machine is too busy or short of memory: end other programs, and try again"
_FULL_HINT = "free some space, or set RAY_TMPDIR to a folder on another disk"
# With less, Ray's processes may not write their logs and the files by which they find each other.
_LEAST_FREE_BYTES = 10 * 2**20
# No access, no permission, or a file system that is read-only.
_DENIALS = (errno.EACCES, errno.EPERM, errno.EROFS)
# The words of errors about a folder for temporary files: its path is too long, or there is none.
_NO_FOLDER = ("af_unix", "socket path", "temporary directory")
_FOLDER_HINT = "set RAY_TMPDIR to a folder with a shorter path that you can write to"


def cause(error: BaseException) -> PintagError | None:
    """Return the pintag error that caused one of Ray's errors, or None."""
    current: BaseException | None = error
    while current is not None:
        # Ray's error of a task has the class of the task's error, too, but Ray's own long text.
        inner = getattr(current, "cause", None)
        if inner is None and isinstance(current, PintagError):
            return current
        current = inner or current.__cause__
    return None


def reason(error: BaseException) -> str:
    """Why one of Ray's errors was raised, in one line: Ray's own text has many, with tracebacks.

    The rest is logged at INFO, with the error and its causes.
    """
    from ray.exceptions import RayActorError, RayError, RayTaskError, WorkerCrashedError

    log.info("an error of Ray", exc_info=error)
    if known := cause(error):
        return first_line(known)
    if isinstance(error, (RayActorError, WorkerCrashedError)):
        return f"a process of Ray ended unexpectedly, perhaps for lack of memory; {LOGS_HINT}"
    root = error.cause if isinstance(error, RayTaskError) else error
    is_complete = not isinstance(error, RayError) and len(str(root).strip().splitlines()) < 2
    first = first_line(root)
    return first if is_complete else f"{first.rstrip(' .:')}; {LOGS_HINT}"


def start_reason(error: BaseException) -> str:
    """Ray's message about a cluster that does not start or cannot be reached, and the remedy."""
    first = first_line(error).rstrip(".")
    # Ray's first error only names an address; the reason is in its causes.
    text = " ".join(map(str, _causes(error))).lower()
    if any(words in text for words in _NO_FOLDER) or _denies_folder(error):
        return f"{first}; {_FOLDER_HINT}"
    if any(word in text for word in _REFUSED):
        return f"{first}; {_CREDENTIALS_HINT}"
    if ray_variables.is_local():
        return f"{first}; {_late_hint()}" if _is_late(text) else first
    return f"{first}; {ray_variables.ADDRESS_HINT}; or {_CREDENTIALS_HINT}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _denies_folder(error: BaseException) -> bool:
    """Whether a folder cannot be written to; a program that cannot be run is not such an error."""
    if not isinstance(error, OSError) or error.errno not in _DENIALS:
        return False
    return not Path(error.filename or "").is_file()


def may_start_later(error: BaseException) -> bool:
    """Whether a local node may start at another attempt: the machine was too busy for this one."""
    return ray_variables.is_local() and _is_late(str(error).lower()) and not _is_disk_full()


def _is_late(text: str) -> bool:
    """Whether one of Ray's processes did not start in time, by its message in lower case."""
    return any(words in text for words in ("timed out", "overloaded"))


def _late_hint() -> str:
    """What to do if one of Ray's processes did not start in time."""
    if _is_disk_full():
        return f"the disk of {ray_variables.temporary_folder()} is full: {_FULL_HINT}"
    return _BUSY_HINT


def _is_disk_full() -> bool:
    with suppress(OSError):
        return shutil.disk_usage(ray_variables.temporary_folder()).free < _LEAST_FREE_BYTES
    return False
