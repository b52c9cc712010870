"""The replicas that Ray leaves out while it builds an application again.

When the configuration of an application has changed, Ray's controller builds it, and until then it
names no replicas of it to HAProxy; if the build fails, it names none any more (Ray 2.60,
`ApplicationState._set_target_state`). But the old replicas run, and without them all uploads would
go through Ray's own proxy on the head. So the replicas that Ray named last are kept until it names
others. HAProxy's checks notice those that have ended.

Standard library only: see main.py.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from . import files
from .sections import REPLICA, Configuration

_SERVERS = "# Servers in this backend"

Replicas = Mapping[str, list[str]]
"""The lines of the replicas of each application, by the name of its backend."""


def keep(configuration: Configuration, last: Replicas) -> Replicas:
    """Add the last known replicas to the backends that have none; return those known now.

    Raises:
        MissingMarkerError: such a backend has no place for them.
    """
    known: dict[str, list[str]] = {}
    for name, backend in configuration.applications().items():
        named = [line for line in backend.lines if re.match(REPLICA, line)]
        known[name] = named or last.get(name, [])
        if not named and known[name]:
            backend.insert(_SERVERS, known[name])
    return known


def load(path: Path, cluster: str) -> Replicas:
    """The replicas of a cluster that `save` wrote; none if there is no such file."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["cluster"] == cluster:
            replicas: Replicas = saved["replicas"]
            return replicas
    return {}


def save(path: Path, cluster: str, replicas: Replicas) -> None:
    """Write the known replicas in one step; if that fails, HAProxy must start all the same."""
    with contextlib.suppress(OSError):
        files.write(path, json.dumps({"cluster": cluster, "replicas": replicas}))
