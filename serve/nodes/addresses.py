"""The addresses that a server can listen on, and their URLs."""

from __future__ import annotations

import socket

from pintag.core.errors import ServerError

HOST_KEY = "http.host"
HOST_REMEDY = (
    f"set {HOST_KEY} to an address or a name of the machine, such as 127.0.0.1, or to 0.0.0.0 for "
    "all"
)


def url(host: str, port: int) -> str:
    """The URL of an address; an IPv6 address has brackets in it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def shown(host: str) -> str:
    """The host of a URL that a user of this machine can open: `localhost` for every address."""
    return "localhost" if host in ("", "0.0.0.0", "::") else host  # noqa: S104


def check_host(host: str) -> None:
    """Check that a server of this machine can listen on a host.

    Raises:
        ServerError: it is not a name that is known here, or no address of this machine.
    """
    if reason := unusable(host):
        raise ServerError(f"{HOST_KEY}={host} cannot be used: {reason}; {HOST_REMEDY}")


def unusable(host: str) -> str | None:
    """Why nothing can listen on a host, whatever the port; None if something can."""
    # The system chooses a free port.
    return taken(host, 0)


def taken(host: str, port: int) -> str | None:
    """Why nothing can listen on an address; None if it is free."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or "0.0.0.0",  # noqa: S104
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None
