"""Who sent a request: the client of its API key, or else an address.

Replicas get the address in a header, from HAProxy or from the middleware around Ray's proxy.
"""

from __future__ import annotations

import contextlib
import ipaddress
from contextvars import ContextVar

from starlette.types import Scope

from pintag.serve.ingress.clients import HEADER

current: ContextVar[str] = ContextVar("client", default="")
"""The client of the request in progress; empty if it is not known."""
_KEY = "pintag.client"
_HEADER = HEADER.encode()


def with_key_holder(scope: Scope, client: str) -> Scope:
    """The scope of a request with a valid API key; `client` is the id of its holder."""
    return {**scope, _KEY: client}


def of(scope: Scope) -> str:
    """The client of a request; empty if it is not known."""
    if _KEY in scope:
        return str(scope[_KEY])
    for name, value in scope.get("headers", ()):
        if name == _HEADER:
            return str(value, "latin-1")
    return ""


def network(address: str) -> str:
    """An IPv4 address as it is; of an IPv6 address the /64 network, as HAProxy's rules write it."""
    if ":" not in address:
        return address
    with contextlib.suppress(ValueError):
        # Without a zone, such as %eth0.
        full = ipaddress.IPv6Address(address.partition("%")[0])
        if full.ipv4_mapped:
            return str(full.ipv4_mapped)
        return str(ipaddress.IPv6Network((full, 64), strict=False).network_address)
    return address
