"""The identity of a Ray cluster: a server passes on answers of its own replicas only.

Replicas and Ray's proxies listen on ports that Ray chooses, or that are the same for each cluster.
When one ends, another cluster on the same machine may take its port, and HAProxy may still send
requests there. So HAProxy sends its cluster's id with each request, and a replica repeats it in the
answer. A replica of another cluster answers 425, and HAProxy sends the request to another replica.

Standard library only: see main.py.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from .answers import UNAVAILABLE
from .problems import reply
from .settings import IngressSettings

_NAME = "x-pintag-cluster"
_HEADER = _NAME.encode()
# Status 425, Too Early, is one of those after which HAProxy can send a request again. Nothing else
# in pintag uses it.
_MISDIRECTED = 425
_OPTION = b"--cluster-id="

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class IdentifiedApplication:
    """An ASGI application that answers its own cluster's HAProxy, and other clients without one."""

    def __init__(self, app: AsgiApplication, cluster: str) -> None:
        self.app = app
        self._cluster = cluster.encode()

    @property
    def routes(self) -> Sequence[Any]:
        """The application's routes: Ray's metrics take the names of requests from them."""
        routes: Sequence[Any] = getattr(self.app, "routes", ())
        return routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        header = _find(scope)
        if header is None:
            await self.app(scope, receive, send)
        elif header != self._cluster:
            await send({"type": "http.response.start", "status": _MISDIRECTED, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self.app(scope, receive, _with_header(send, header))


def identified(app: AsgiApplication) -> IdentifiedApplication:
    """The application of a replica of this process's cluster."""
    return IdentifiedApplication(app, cluster_of(os.getpid()))


def accept_own_replicas_only(settings: IngressSettings) -> list[str]:
    """HAProxy's rules: never pass on an answer of another cluster, nor one without an id."""
    if not settings.cluster:
        return []
    own = f"{{ res.hdr({_NAME}) -m str {settings.cluster} }}"
    return [
        f"http-request set-header {_NAME} {settings.cluster}",
        f"http-response return {reply(*UNAVAILABLE)} if !{own}",
        f"http-response del-header {_NAME}",
    ]


def cluster_of(pid: int) -> str:
    """The id of the Ray cluster that started a process; empty if none did.

    Ray passes it to its raylet, which starts the processes of a node.
    """
    while pid > 1:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        for argument in arguments:
            if argument.startswith(_OPTION):
                return argument.removeprefix(_OPTION).decode()
        pid = int(stat.rpartition(") ")[2].split()[1])
    return ""


def _find(scope: Scope) -> bytes | None:
    if scope["type"] == "http":
        for name, value in scope["headers"]:
            if name == _HEADER:
                found: bytes = value
                return found
    return None


def _with_header(send: Send, value: bytes) -> Send:
    async def send_identified(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (_HEADER, value)]
        await send(message)

    return send_identified
