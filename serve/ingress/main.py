"""The program that Ray starts instead of HAProxy, by `haproxy.sh`.

It patches the configuration that Ray wrote, and runs HAProxy under a supervisor. If the
configuration cannot be patched, HAProxy is not started: it would run without overload protection.
The message on standard error appears in Ray's log of the proxy.

Standard library only: it runs without site-packages, as it must start quickly.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # The program is run by its path. Only this folder is imported as a package, because `pintag`
    # needs site-packages.
    sys.path.append(str(Path(__file__).parents[1]))
    __package__ = "ingress"

from . import files, known_replicas
from .configuration import patch
from .identity import cluster_of
from .sections import Configuration
from .settings import IngressSettings
from .supervisor import Supervisor


def main(arguments: list[str]) -> int:
    """Run HAProxy with these arguments, and return its exit code."""
    binary = os.environ["PINTAG_HAPROXY"]
    # -dS turns splicing off. With splicing, HAProxy does not notice that a client disconnects if
    # the body is smaller than the buffer and arrives after the head; the replica works for nothing.
    command = [binary, "-dS", *arguments]
    path = _configuration_path(arguments)
    try:
        if path:
            _patch_file(path)
        # Without -db Ray only asks for the version: there is nothing to supervise.
        supervisor = Supervisor(command) if "-db" in arguments else None
    except (ValueError, OSError) as error:
        sys.exit(f"HAProxy is not started: {path}: {error}")
    if supervisor is None:
        os.execv(binary, command)  # noqa: S606
    code = supervisor.run()
    # If a signal ended HAProxy, return the exit code that a shell would return.
    return code if code >= 0 else 128 - code


def _configuration_path(arguments: list[str]) -> Path | None:
    """The file that follows `-f`; None if there is no such file."""
    path = Path(arguments[arguments.index("-f") + 1]) if "-f" in arguments else None
    return path if path and path.is_file() else None


def _patch_file(path: Path) -> None:
    """Patch a file in one step: if the disk is full, the file stays as it is."""
    saved = path.with_name(f"{path.name}.replicas")
    settings = IngressSettings.of(os.environ, cluster_of(os.getppid()))
    configuration = Configuration(path.read_text(encoding="utf-8"))
    last = known_replicas.load(saved, settings.cluster)
    known = known_replicas.keep(configuration, last)
    patch(configuration, settings)
    files.write(path, str(configuration))
    known_replicas.save(saved, settings.cluster, known)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
