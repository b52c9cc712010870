"""A client as HAProxy's rules know it: by its address, which replicas get in a header.

Standard library only: see main.py.
"""

from __future__ import annotations

# One client: an IPv4 address, or the /64 network of an IPv6 address, which one host may have.
ADDRESS = "src,ipmask(32,64)"
HEADER = "x-pintag-client"


def name_clients() -> list[str]:
    """Send the address of its client with each request, in place of what the client sent."""
    return [f"http-request set-header {HEADER} %[{ADDRESS}]"]
