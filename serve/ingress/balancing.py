"""Which replica gets a request, and when one is given up.

Standard library only: see main.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .sections import REPLICA, ConfigSection
from .settings import DEAD_NODE_S

ANY_UP = "pintag_any_up"
"""HAProxy's condition that the checks of any replica succeed; a section with replicas defines it.
"""


def probe_connections() -> list[str]:
    """Probe connections to replicas every second.

    A node without power or network acknowledges no data. HAProxy can notice that only if it sends
    some, and while it waits for an answer it sends only these probes: see `notice_dead_nodes`.
    """
    return ["option srvtcpka", "srvtcpka-idle 1s", "srvtcpka-intvl 1s"]


def notice_dead_nodes(backend: ConfigSection) -> None:
    """Give up a node that acknowledges no data for 5 s; by default it is a quarter of an hour.

    Its requests are sent to another node.
    """
    backend.replace(REPLICA, lambda found: [f"{found[0]} tcp-ut {DEAD_NODE_S}s"])


def choose_replicas(name: str, backend: ConfigSection) -> None:
    """Send each request to the first idle replica, and to any replica if all seem to be down.

    The caches of the first one are warm. HAProxy's own rule, the least connections, would take idle
    replicas in turn.

    A check fails, too, while a process gets no processor for a second. If all fail, what they say
    is of no use, and a request that waits for such a replica is better off than one that is
    refused: Envoy calls it the panic threshold. A connection that is refused is tried again, and
    then Ray's own proxy gets the request.
    """
    replicas = backend.replicas
    if not replicas:
        return
    backend.lines[:0] = [
        # A rule may name a server that is down. Unlike `force-persist`, this allows other attempts.
        "option persist",
        *any_up(name, replicas),
    ]

    def rules(found: re.Match[str]) -> list[str]:
        server, replica = f"{name}/{found[1]}", found[1]
        left = len(replicas) - replicas.index(replica)
        chosen = f" {{ rand({left}) eq 0 }}" if left > 1 else ""
        return [
            f"use-server {replica} if {{ srv_is_up({server}) }} {{ srv_conn({server}) eq 0 }}",
            f"use-server {replica} if !{ANY_UP}{chosen}",
            found[0],
        ]

    backend.replace(REPLICA, rules)


def any_up(name: str, replicas: Iterable[str]) -> list[str]:
    """The lines of the condition `ANY_UP` for the replicas of an application."""
    return [f"acl {ANY_UP} srv_is_up({name}/{replica})" for replica in replicas]
