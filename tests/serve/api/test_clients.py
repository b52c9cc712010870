"""Who sent a request: the holder of its key, or an address."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pintag.serve.api import clients, tags
from pintag.serve.api.ray_answers import RayAnswers
from pintag.serve.auth.limits import RateLimits
from pintag.serve.auth.local_quota import LocalQuotas
from pintag.serve.auth.middleware import ApiKeyMiddleware
from pintag.serve.auth.token_bucket import TakeRequest, TakeResponse
from pintag.serve.ingress.clients import HEADER
from tests.serve.auth.conftest import client as key_holder
from tests.serve.conftest import Client, ScriptedTagger, files

pytestmark = pytest.mark.ray


class NamingTagger(ScriptedTagger):
    """Records the clients of the requests that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[str] = []

    async def tag(self, *arguments: Any, **options: Any) -> list[bytes | Exception]:
        self.clients.append(clients.current.get())
        return await super().tag(*arguments, **options)


@pytest.mark.parametrize("form", [False, True])
def test_a_request_belongs_to_the_address_that_haproxy_names(form: bool) -> None:
    tagger = NamingTagger()
    client = Client(tags.build(tagger))
    body: Any = {"files": files(b"picture")} if form else {"content": b"picture"}
    client.post("/v1/tags", headers={HEADER: "192.0.2.1"}, **body)
    client.post("/v1/tags", **body)
    assert tagger.clients == ["192.0.2.1", ""]


def test_a_request_with_a_key_belongs_to_its_holder() -> None:
    async def take(request: TakeRequest) -> TakeResponse:
        raise AssertionError("a key without limits is not counted")

    tagger = NamingTagger()
    holder = key_holder(RateLimits(), identity="shop:1")
    quotas = LocalQuotas(take)
    app = ApiKeyMiddleware(tags.build(tagger), lambda _: holder, quotas, tagger.metrics)
    headers = {HEADER: "192.0.2.1", "Authorization": "Bearer mine"}
    Client(app).post("/v1/tags", content=b"picture", headers=headers)
    assert tagger.clients == ["shop:1"]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:7:1:2:3:4", "2001:db8:0:7::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::"),
        ("a:socket", "a:socket"),
        ("", ""),
    ],
)
def test_rays_proxy_names_clients_as_haproxy_does(address: str, network: str) -> None:
    received: list[Any] = []

    async def ray(scope: Any, receive: Any, send: Any) -> None:
        received.append(clients.of(scope))

    async def call() -> None:
        scope = {
            "type": "http", "path": "/v1/tags", "client": (address, 1024),
            "headers": [(HEADER.encode(), b"mine")],
        }  # fmt: skip
        await RayAnswers(ray)(scope, ray, _ignore)  # type: ignore[arg-type]

    asyncio.run(call())
    assert received == [network]


async def _ignore(message: Any) -> None:
    """Nobody reads the answer."""
