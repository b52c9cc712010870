"""A network on this machine: a bridge, and for each node a namespace with its own address.

It needs root and the command `ip` (Debian's package iproute2).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Addresses of the block that RFC 2544 reserves for tests of networks.
_ADDRESS = "198.18.213.{}"
HERE = _ADDRESS.format(254)


def unable() -> str:
    """The reason why no network can be built here; empty if it can be built."""
    if os.geteuid() != 0:
        return "a network of namespaces needs root"
    if not shutil.which("ip"):
        return "the command ip is not installed (Debian's package iproute2)"
    try:
        with network(1):
            return ""
    except subprocess.CalledProcessError as error:
        return f"a network of namespaces cannot be built: {error.stderr.strip()}"


@dataclass(frozen=True)
class NetworkNamespace:
    """The namespace of a node; `within` is a prefix that runs a command in it."""

    number: int
    address: str

    @property
    def _name(self) -> str:
        return f"pt{os.getpid()}n{self.number}"

    @property
    def within(self) -> Sequence[str]:
        # Separate process ids: Ray starts no head if it sees processes of another cluster.
        own_pids = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        return ("ip", "netns", "exec", self._name, *own_pids)

    def join(self, bridge: str) -> None:
        _ip("netns", "add", self._name)
        _ip("link", "add", self._name, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        _ip("link", "set", self._name, "master", bridge, "up")
        _ip("-n", self._name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for name in ("lo", "eth0"):
            _ip("-n", self._name, "link", "set", name, "up")

    def cut(self) -> None:
        """Disconnect the node, as when a cable is pulled: no connection is closed."""
        _ip("link", "set", self._name, "down")

    def mend(self) -> None:
        _ip("link", "set", self._name, "up")

    def leave(self) -> None:
        _ip("netns", "del", self._name)


@contextlib.contextmanager
def network(nodes: int) -> Iterator[list[NetworkNamespace]]:
    """A network with a namespace for each node; this machine is in it too, at the address HERE."""
    bridge = f"pt{os.getpid()}b"
    namespaces = [
        NetworkNamespace(number, _ADDRESS.format(number)) for number in range(1, nodes + 1)
    ]
    with contextlib.ExitStack() as cleanup:
        _ip("link", "add", bridge, "type", "bridge")
        cleanup.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{HERE}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for namespace in namespaces:
            cleanup.callback(namespace.leave)
            namespace.join(bridge)
        yield namespaces


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
