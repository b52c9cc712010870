"""The addresses of a server: which are free, and their URLs."""

from __future__ import annotations

import socket

from pintag.serve.nodes import addresses
from tests.conftest import free_port


def test_an_ipv6_address_is_checked_too() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as holder:
        port = holder.getsockname()[1]
        assert addresses.taken("::1", port) == "Address already in use"
    assert addresses.taken("::1", free_port()) is None
    assert addresses.taken("no such host", 1) is not None
    assert addresses.url("::1", 8000) == "http://[::1]:8000"
    assert addresses.url("127.0.0.1", 8000) == "http://127.0.0.1:8000"


def test_a_link_of_a_server_on_every_address_can_be_opened() -> None:
    for host in ("0.0.0.0", "::", ""):
        assert addresses.url(addresses.shown(host), 8000) == "http://localhost:8000"
    assert addresses.url(addresses.shown("::1"), 8000) == "http://[::1]:8000"
