"""A network of this machine: a bridge, and for each node an address and processes of its own.

For root alone, and where there is `ip` (Debian's iproute2).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Of the block that RFC 2544 sets aside for tests of networks.
_ADDRESS = "198.18.213.{}"
HERE = _ADDRESS.format(254)


def unable() -> str:
    """Why there can be none here; empty where there can be."""
    if os.geteuid() != 0:
        return "a network of namespaces needs root"
    if not shutil.which("ip"):
        return "no ip here (Debian's package iproute2)"
    try:
        with network(1):
            return ""
    except subprocess.CalledProcessError as error:
        return f"no network of namespaces here: {error.stderr.strip()}"


@dataclass(frozen=True)
class Place:
    """Where a node is: `within` runs a command there."""

    number: int
    address: str

    @property
    def _name(self) -> str:
        return f"pt{os.getpid()}n{self.number}"

    @property
    def within(self) -> Sequence[str]:
        # Ray starts no head where it sees processes of a cluster of that address.
        alone = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        return ("ip", "netns", "exec", self._name, *alone)

    def join(self, bridge: str) -> None:
        _ip("netns", "add", self._name)
        _ip("link", "add", self._name, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        _ip("link", "set", self._name, "master", bridge, "up")
        _ip("-n", self._name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for name in ("lo", "eth0"):
            _ip("-n", self._name, "link", "set", name, "up")

    def cut(self) -> None:
        """As when a cable is pulled: nobody is told of it."""
        _ip("link", "set", self._name, "down")

    def mend(self) -> None:
        _ip("link", "set", self._name, "up")

    def leave(self) -> None:
        _ip("netns", "del", self._name)


@contextlib.contextmanager
def network(nodes: int) -> Iterator[list[Place]]:
    """Its places; this machine is in it, too, at HERE."""
    bridge = f"pt{os.getpid()}b"
    places = [Place(number, _ADDRESS.format(number)) for number in range(1, nodes + 1)]
    with contextlib.ExitStack() as ending:
        _ip("link", "add", bridge, "type", "bridge")
        ending.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{HERE}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for place in places:
            ending.callback(place.leave)
            place.join(bridge)
        yield places


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
