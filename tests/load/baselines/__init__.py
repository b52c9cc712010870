"""Other servers doing the same work, started and stopped for a measurement."""

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
# They import our decoder and engines.
OURS = {"PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def fastapi(bundle_dir: Path, log: Path) -> Iterator[str]:
    """Plain FastAPI on uvicorn; yields its address."""
    port = free_port()
    command = [
        BIN / "uvicorn", "--app-dir", HERE, "--port", port, "--no-access-log", "fastapi_app:app",
    ]  # fmt: skip
    with launched(command, log, **OURS, PINTAG_BUNDLE=str(bundle_dir.absolute())):
        yield _answering(f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def ray_recipe(bundle_dir: Path, log: Path) -> Iterator[str]:
    """Ray Serve as its documentation shows it."""
    command = [BIN / "serve", "run", "--app-dir", HERE, "--name", "recipe", "ray_recipe:app"]
    # Not a cluster that `ray start` left here, which may be gone.
    environment = {"PINTAG_BUNDLE": str(bundle_dir.absolute()), "RAY_ADDRESS": "local"}
    with launched(command, log, **OURS, **environment):
        wait_for(lambda: "is ready at" in log.read_text(), 120, "Ray Serve's recipe")
        yield _answering("http://127.0.0.1:8000")


@contextlib.contextmanager
def triton(python: Path, bundle_dir: Path, log: Path) -> Iterator[str]:
    """NVIDIA's Triton by pytriton, in another interpreter."""
    port = free_port()
    # Two more, for gRPC and metrics.
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
