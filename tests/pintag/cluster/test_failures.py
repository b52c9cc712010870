"""Ray's errors in one line, with the remedy."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pintag.cluster import failures
from pintag.core.errors import DataError
from tests.conftest import wait_for

LOGS = "; Ray's logs name the cause (ray/session_latest/logs below RAY_TMPDIR or /tmp)"


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster is named."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.ray
def test_rays_errors_become_one_line(
    ray_cluster: None, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Errors of a real cluster: an actor that is killed, and tasks that raise."""
    caplog.set_level("INFO", "pintag.cluster")
    import ray

    @ray.remote(num_cpus=0)
    class Actor:
        def die(self) -> None:
            os._exit(1)

    @ray.remote(num_cpus=0)
    def fail(error: Exception) -> None:
        raise error

    def reason(result: Any) -> str:
        with pytest.raises(ray.exceptions.RayError) as raised:
            ray.get(result)
        return failures.reason(raised.value)

    died = "a process of Ray ended unexpectedly, perhaps for lack of memory"
    assert reason(Actor.remote().die.remote()) == died + LOGS  # type: ignore[attr-defined]
    assert reason(fail.remote(ValueError("bad\nsecond line"))) == "bad" + LOGS
    assert reason(fail.remote(DataError("no images"))) == "no images"
    # What the raylet reports about the actor is logged. On standard output it would be among the
    # results of a command.
    wait_for(lambda: "raylet: A worker died" in caplog.text, 60, "the report")
    assert capfd.readouterr() == ("", "")


def test_an_error_of_one_line_is_kept_as_it_is() -> None:
    assert failures.reason(RuntimeError("no replica starts")) == "no replica starts"
    assert failures.reason(RuntimeError("deploying failed\n  File x, line 1")) == (
        "deploying failed" + LOGS
    )
    assert failures.reason(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError("AF_UNIX path length cannot exceed 107 bytes"), "RAY_TMPDIR"),
        (PermissionError(13, "Permission denied", "/tmp/ray"), "RAY_TMPDIR"),
        (OSError(30, "Read-only file system", "/tmp/ray"), "RAY_TMPDIR"),
        (FileNotFoundError(2, "No usable temporary directory found"), "RAY_TMPDIR"),
        (RuntimeError("Unauthenticated: InvalidAuthToken"), "RAY_AUTH_TOKEN_PATH"),
        (ConnectionError("no cluster\nand much more"), "check RAY_ADDRESS"),
        # Something answers there; it may be a cluster that refuses this process.
        (ConnectionError("no cluster\nand much more"), "RAY_AUTH_TOKEN_PATH"),
    ],
)
def test_rays_errors_get_a_remedy_and_stay_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, remedy: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    message = failures.start_reason(error)
    assert remedy in message
    assert "\n" not in message


def test_a_reason_that_only_the_cause_of_rays_error_names_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    error = ConnectionError("Failed to connect to Ray cluster at head:6379")
    error.__cause__ = RuntimeError("Failed to connect to GCS: InvalidAuthToken")
    message = failures.start_reason(error)
    assert message.startswith("Failed to connect to Ray cluster at head:6379; this process has no ")
    assert "check RAY_ADDRESS" not in message


def test_a_program_that_cannot_be_run_is_no_folder_to_choose() -> None:
    error = PermissionError(13, "Permission denied", sys.executable)
    assert failures.start_reason(error) == str(error)


def test_a_cluster_that_does_not_start_in_time_gets_a_remedy() -> None:
    message = failures.start_reason(
        Exception("The current node timed out during startup. The GCS has become overloaded.")
    )
    remedy = "the machine is too busy or short of memory: end other programs, and try again"
    assert message.endswith(f"overloaded; {remedy}")
    assert failures.start_reason(Exception("something else")) == "something else"


def test_a_full_disk_is_named_if_a_cluster_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(failures, "_LEAST_FREE_BYTES", shutil.disk_usage(tmp_path).total)
    assert failures.start_reason(Exception("timed out")) == (
        f"timed out; the disk of {tmp_path} is full: free some space, or set RAY_TMPDIR to a folder"
        " on another disk"
    )
