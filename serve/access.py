"""The door: a request of the API needs a key, and each key has its limits.

`Authorization: Bearer KEY`. Pages, documentation and health checks stay open: they tell nothing
that costs, and the page asks for a key itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from fastapi import Response
from starlette.datastructures import MutableHeaders
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve import meter, problems
from serve.config import AccessConfig
from serve.keys import Key, KeyFile
from serve.meter import Allowances, Grant, Standing
from serve.protocol import RateLimitedError, UnauthorizedError

_SCHEME = b"bearer "
_MOST = 512


class Metrics(Protocol):
    """What is counted here."""

    def count_error(self, kind: str) -> None: ...

    def count_request(self, key: str, outcome: str) -> None: ...


class Application(Protocol):
    """What is behind the door."""

    @property
    def routes(self) -> Sequence[BaseRoute]: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def guard(app: Application, config: AccessConfig, metrics: Metrics) -> ASGIApp:
    """The application behind its door; itself, where everybody may ask.

    Raises:
        ConfigError: the file of keys cannot be read, or is wrong.
    """
    if config.keys is None:
        return app
    allowances = Allowances(meter.Connection().draw)
    return Door(app, KeyFile(config.keys).find, allowances, metrics)


class Door:
    """Lets in who has a key, as often as the key says."""

    def __init__(
        self,
        app: Application,
        find: Callable[[str], Key | None],
        allowances: Allowances,
        metrics: Metrics,
    ) -> None:
        self._app, self._find = app, find
        self._allowances, self._metrics = allowances, metrics

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """Ray names requests by them in its metrics."""
        return self._app.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        key = self._find(_token(scope))
        if key is None:
            refused = UnauthorizedError("a key is needed: Authorization: Bearer KEY")
            await problems.refusal(refused, self._metrics)(scope, receive, send)
            return
        grant = await self._allowances.take(key)
        self._metrics.count_request(key.name, "admitted" if grant.tokens else "refused")
        if not grant.tokens:
            await self._refusal(key, grant)(scope, receive, send)
            return
        await self._app(scope, receive, _telling(send, grant.standings))

    def _refusal(self, key: Key, grant: Grant) -> Response:
        seconds = math.ceil(grant.wait) or 1
        error = RateLimitedError(
            f"{key.name} has used its limit; try again in {seconds} s", seconds
        )
        response = problems.refusal(error, self._metrics)
        response.headers.update(_headers(grant.standings))
        return response


def _token(scope: Scope) -> str:
    """The key that a request brings, if it brings one, and only one."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(found) != 1 or len(found[0]) > _MOST or found[0][: len(_SCHEME)].lower() != _SCHEME:
        return ""
    token: str = found[0][len(_SCHEME) :].strip().decode("latin-1")
    return token


def _telling(send: Send, standings: Sequence[Standing]) -> Send:
    if not standings:
        return send

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_headers(standings))
        await send(message)

    return told


def _headers(standings: Sequence[Standing]) -> dict[str, str]:
    """RateLimit header fields (draft-ietf-httpapi-ratelimit-headers-10)."""
    if not standings:
        return {}
    policies = [f'"{each.limit}";q={each.quota};w={each.window}' for each in standings]
    states = [f'"{each.limit}";r={each.left};t={each.reset}' for each in standings]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}
