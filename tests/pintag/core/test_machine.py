"""What a process may use, read from a cgroup's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pintag.core import machine


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write the files of a cgroup."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_a_quota_limits_the_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert machine.allowed_cpus(write(tmp_path, files)) == expected


def test_the_affinity_limits_the_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert machine.allowed_cpus(tmp_path) == 1


def test_a_containers_limit_counts_as_memory(tmp_path: Path) -> None:
    total = machine.allowed_memory(tmp_path)
    assert total > 0
    assert machine.allowed_memory(write(tmp_path / "2", {"memory.max": "max"})) == total
    assert machine.allowed_memory(write(tmp_path / "2", {"memory.max": "1000"})) == 1000
    version_1 = {"memory/memory.limit_in_bytes": "2000"}
    assert machine.allowed_memory(write(tmp_path / "1", version_1)) == 2000


def test_shared_memory_may_be_missing(tmp_path: Path) -> None:
    assert machine.free_shared_memory(tmp_path / "missing") is None
    free = machine.free_shared_memory(tmp_path)
    assert free
    assert free > 0
