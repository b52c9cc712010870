"""Starts and stops other servers that do the same work, for a measurement."""

from __future__ import annotations

import contextlib
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT, free_port, launched, wait_for

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
# The baselines import our decoder and engines.
OURS = {"PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def fastapi(bundle_dir: Path, log: Path) -> Iterator[str]:
    """Run plain FastAPI on uvicorn; yield its URL."""
    port = free_port()
    command = [
        BIN / "uvicorn", "--app-dir", HERE, "--port", port, "--no-access-log", "fastapi_app:app",
    ]  # fmt: skip
    with launched(command, log, **OURS, PINTAG_BUNDLE=str(bundle_dir.absolute())):
        yield _answering(f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def ray_recipe(bundle_dir: Path, log: Path) -> Iterator[str]:
    """Run Ray Serve as its documentation shows it; yield its URL."""
    command = [BIN / "serve", "run", "--app-dir", HERE, "--name", "recipe", "ray_recipe:app"]
    # Always a new cluster: that of an earlier `ray start` may not answer any more.
    environment = {"PINTAG_BUNDLE": str(bundle_dir.absolute()), "RAY_ADDRESS": "local"}
    with launched(command, log, **OURS, **environment):
        wait_for(lambda: "is ready at" in log.read_text(), 120, "Ray Serve's recipe")
        yield _answering("http://127.0.0.1:8000")


@contextlib.contextmanager
def triton(python: Path, bundle_dir: Path, log: Path) -> Iterator[str]:
    """Run NVIDIA's Triton with pytriton, in another interpreter; yield its URL."""
    port = free_port()
    # Triton uses the next two ports for gRPC and metrics.
    free_port(), free_port()
    command = [python, HERE / "triton.py", bundle_dir / "openvino-int8.xml", port]
    with launched(command, log, **OURS):
        wait_for(lambda: "ready" in log.read_text(), 120, "Triton")
        yield _answering(f"http://127.0.0.1:{port}")


def _answering(url: str) -> str:
    def answers() -> bool:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    wait_for(answers, 60, url)
    return url
