"""Replicas get the address of each client from HAProxy, whatever the client sends."""

from __future__ import annotations

import httpx
import pytest

from pintag.serve.ingress.clients import HEADER
from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.ingress.settings import IngressSettings
from tests.serve.ingress.client import raw
from tests.serve.ingress.conftest import Ingress, Start

pytestmark = pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")

SETTINGS = IngressSettings(host="127.0.0.1")


def received(ingress: Ingress) -> list[str | None]:
    """The clients that the replicas got."""
    return [
        header.get(HEADER) for replica in ingress.replicas.values() for header in replica.headers
    ]


def test_a_client_cannot_choose_its_name(start: Start) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    headers = [(HEADER, "another"), (HEADER, "client")]
    with start(SETTINGS) as ingress, httpx.Client(transport=transport) as client:
        assert client.post(f"{ingress.url}/v1/tags", headers=headers).status_code == 200
        assert received(ingress) == ["127.0.0.2"]


def test_the_addresses_of_an_ipv6_network_are_one_client(start: Start) -> None:
    request = b"PROXY TCP6 2001:db8:0:7:1:2:3:4 ::1 1024 80\r\nGET / HTTP/1.1\r\nHost: here\r\n\r\n"
    with start(SETTINGS, proxied=True) as ingress:
        assert raw(ingress, request).status_code == 200
        assert received(ingress) == ["2001:db8:0:7::"]
