"""What a server sends over a plain socket."""

from __future__ import annotations

import contextlib
import socket


def until_closed(connection: socket.socket) -> bytes:
    """All that a server sends until it closes a connection, in whichever way."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)
