"""What this machine, or the container, lets a process use."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
_CGROUP = Path("/sys/fs/cgroup")


def allowed_cpus(cgroup: Path = _CGROUP) -> int:
    """The processors that this process may use: its affinity, and its container's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroup)
    return max(1, min(affinity or 1, math.ceil(quota) if quota else affinity or 1))


def allowed_memory(cgroup: Path = _CGROUP) -> int:
    """The bytes of memory that this process may use: the machine's, or its container's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_read(cgroup / name) for name in ("memory.max", "memory/memory.limit_in_bytes"))
    return min([total, *(int(limit) for limit in limits if limit.isdigit())])


def free_shared_memory(path: Path = _SHARED_MEMORY) -> int | None:
    """The free bytes of /dev/shm; None if there is none."""
    try:
        stat = os.statvfs(path)
    except OSError:
        return None
    return stat.f_bavail * stat.f_frsize


def max_open_files() -> int:
    """How many files and connections a process can have open, if it asks for all."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _quota(cgroup: Path) -> float | None:
    """The processors of a cgroup's quota, version 2 or 1; None without a quota."""
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if not period:
        quota = _read(cgroup / "cpu/cpu.cfs_quota_us")
        period = _read(cgroup / "cpu/cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit():
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
