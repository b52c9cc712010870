"""The environment variables and options of every Ray cluster that pintag starts or uses.

`train`, `study`, `bulk` and `serve` all set them before Ray is imported, so there is one way to a
token: a cluster of this machine gets one of its own, which only its processes know, and which is
never written to a file. For a cluster of `RAY_ADDRESS` the token is `RAY_AUTH_TOKEN`, the file of
`RAY_AUTH_TOKEN_PATH`, or `~/.ray/auth_token`, as for `ray start`.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pintag.core import machine
from pintag.core.errors import ClusterError

# Ray's processes would report statistics about their use to its makers.
NODE_VARIABLES: Mapping[str, str] = {"RAY_USAGE_STATS_ENABLED": "0"}
# What systems write for users without a home.
_NO_HOME = "/nonexistent"
# Ray does not start with a smaller object store.
MIN_STORE_BYTES = 80 * 2**20
_ADDRESS_TIMEOUT_S = 10.0
# The part of shared memory that the object store may take, and of all memory.
_SHARED_MEMORY_SHARE, _MEMORY_SHARE = 0.9, 0.3
ADDRESS_HINT = "check RAY_ADDRESS, or unset it to start a local cluster"


def is_local() -> bool:
    """Whether a cluster of this machine is started, because `RAY_ADDRESS` names none."""
    return not os.environ.get("RAY_ADDRESS")


def set_variables() -> None:
    """Set the variables; one that the user has set keeps its value."""
    for name, value in NODE_VARIABLES.items():
        os.environ.setdefault(name, value)
    # Ray Train cannot be imported without a home. A user id without a name has none.
    if not _home():
        os.environ["HOME"] = _NO_HOME
    if is_local():
        # Ray's processes listen on every interface, and run the code of every client that has the
        # token.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Ray reads the mode when it is imported. Later only `ray.init` can change it, and does so
        # if the variable is not set.
        if "ray" not in sys.modules:
            os.environ["RAY_AUTH_MODE"] = "token"
    else:
        os.environ.update(token_mode())


def token_mode() -> dict[str, str]:
    """The variable that makes Ray's commands send a token, if there is one.

    `ray start --head` requires a token as soon as it finds one; other commands send it only if the
    variable is set. A mode that the user has set is kept.
    """
    is_needed = "RAY_AUTH_MODE" not in os.environ and has_token()
    return {"RAY_AUTH_MODE": "token"} if is_needed else {}


def has_token() -> bool:
    """Whether there is a token for the cluster of `RAY_ADDRESS`, where Ray looks for one."""
    variables = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    return any(os.environ.get(name) for name in variables) or _has_token_file()


def local_options(min_cpus: int = 1) -> dict[str, Any]:
    """The options of `ray.init` for a cluster of this machine.

    Args:
        min_cpus: the minimum number of logical processors. If there are fewer, processes share
            them.
    """
    return {
        # Without this, Ray connects to any cluster that `ray start` has started on this machine.
        "address": "local",
        "num_cpus": max(machine.allowed_cpus(), min_cpus),
        "object_store_memory": object_store_bytes(machine.free_shared_memory()),
    }


def object_store_bytes(shared_memory: int | None) -> int:
    """The size of the object store, which must fit into the shared memory that is free.

    Ray's own size may exceed it. Then a process that fills it is killed by SIGBUS.
    """
    size = _MEMORY_SHARE * machine.allowed_memory()
    if shared_memory is not None:
        size = min(size, _SHARED_MEMORY_SHARE * shared_memory)
    return max(int(size), MIN_STORE_BYTES)


def check_address() -> None:
    """Check that something listens at `RAY_ADDRESS`: Ray would try for two minutes.

    Raises:
        ClusterError: nothing has answered for `_ADDRESS_TIMEOUT_S`.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if address in ("auto", "local"):
        address = _last_cluster()
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return
    end = time.monotonic() + _ADDRESS_TIMEOUT_S
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _ADDRESS_TIMEOUT_S).close()
        except OSError as error:
            if time.monotonic() > end or isinstance(error, socket.gaierror):
                reason = error.strerror or error
                raise ClusterError(
                    f"no Ray cluster answers at {address}: {reason}; {ADDRESS_HINT}"
                ) from error
            # The head may be starting.
            time.sleep(0.5)
        else:
            return


def temporary_folder() -> Path:
    """The folder in which Ray has its own."""
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())


def _last_cluster() -> str:
    """The address that `auto` means: of the cluster that `ray start` started here last."""
    try:
        path = temporary_folder() / "ray" / "ray_current_cluster"
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _has_token_file() -> bool:
    home = _home()
    try:
        return home is not None and (home / ".ray" / "auth_token").is_file()
    except OSError:
        return False


def _home() -> Path | None:
    """The user's home, if there is one."""
    try:
        return Path.home()
    except RuntimeError:
        return None
