"""ASGI middleware: requests to `/v1/` need an API key, and each key has its rate limits.

Clients send `Authorization: Bearer KEY`. The pages, the documentation and the health checks need no
key: they are cheap, they reveal nothing, and the page itself asks its user for a key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from fastapi import Response
from starlette.datastructures import MutableHeaders
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pintag.serve.api import clients, error_handlers, image_limits
from pintag.serve.auth import limiter_client
from pintag.serve.auth.api_keys import KeyHolder
from pintag.serve.auth.decision import LimitStatus
from pintag.serve.auth.image_counter import ImageCounter
from pintag.serve.auth.key_file import ApiKeyFile
from pintag.serve.auth.local_quota import LocalQuotas
from pintag.serve.config import AccessConfig
from pintag.serve.errors import (
    InvalidKeyError,
    RefusedError,
    UnauthorizedError,
)

_SCHEME = b"bearer "
_MAX_HEADER_BYTES = 512


class AuthMetrics(Protocol):
    """The metrics that this middleware counts."""

    def count_error(self, kind: str) -> None: ...

    def count_request(self, key: str, outcome: str) -> None: ...


class RoutedApplication(Protocol):
    """An ASGI application with routes."""

    @property
    def routes(self) -> Sequence[BaseRoute]: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def require_api_key(app: RoutedApplication, config: AccessConfig, metrics: AuthMetrics) -> ASGIApp:
    """The application with `ApiKeyMiddleware` around it, or as it is if no keys are configured.

    Raises:
        ConfigError: the file of keys cannot be read, or is invalid; or `rate_limits.redis` is set,
            and cannot be used.
    """
    if config.keys is None:
        return app
    file = ApiKeyFile(config.keys)
    file.watch()
    return ApiKeyMiddleware(app, file.find, limiter_client.local_quotas(config), metrics)


class ApiKeyMiddleware:
    """Checks the API key and the rate limits of each request before its body is read."""

    def __init__(
        self,
        app: RoutedApplication,
        find_holder: Callable[[str], KeyHolder | None],
        quotas: LocalQuotas,
        metrics: AuthMetrics,
    ) -> None:
        self._app, self._find_holder = app, find_holder
        self._quotas, self._metrics = quotas, metrics

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The application's routes: Ray's metrics take the names of requests from them."""
        return self._app.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        counter: ImageCounter | None = None
        try:
            client = self._client(scope)
            counter = ImageCounter(client, self._quotas)
            await counter.admit(1)
        except RefusedError as error:
            if counter is not None:
                self._metrics.count_request(counter.client.name, counter.outcome)
            await self._refusal(error, counter)(scope, receive, send)
            return
        scope = clients.with_key_holder(scope, client.id)
        if client.limits.is_limited:
            scope = image_limits.with_counter(scope, counter.count)
            send = _with_limit_headers(send, counter)
        try:
            await self._app(scope, receive, send)
        finally:
            self._metrics.count_request(client.name, counter.outcome)

    def _client(self, scope: Scope) -> KeyHolder:
        """The holder of the request's key.

        Raises:
            UnauthorizedError: the request has no key, or one that is not valid.
        """
        client = self._find_holder(_bearer_token(scope))
        if client is None:
            raise InvalidKeyError(
                "the API key is not valid: it is mistyped, or was replaced or revoked"
            )
        return client

    def _refusal(self, error: RefusedError, counter: ImageCounter | None) -> Response:
        response = error_handlers.error_response(error, self._metrics)
        if counter is not None:
            response.headers.update(_limit_headers(counter.statuses))
        return response


def _bearer_token(scope: Scope) -> str:
    """The key in a request's Authorization header.

    Raises:
        UnauthorizedError: there is none, or more than one, or something else than a key.
    """
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if not values:
        raise UnauthorizedError(
            "this server requires an API key; send the header 'Authorization: Bearer KEY'"
        )
    if len(values) > 1:
        raise UnauthorizedError("the request has several Authorization headers; send one")
    scheme, credentials = values[0][: len(_SCHEME)], values[0][len(_SCHEME) :].strip()
    if scheme.lower() != _SCHEME or not credentials or len(values[0]) > _MAX_HEADER_BYTES:
        raise UnauthorizedError(
            "the Authorization header has no API key; send 'Authorization: Bearer KEY'"
        )
    token: str = credentials.decode("latin-1")
    return token


def _with_limit_headers(send: Send, counter: ImageCounter) -> Send:
    """A `send` function that adds the rate-limit headers to the response."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_limit_headers(counter.statuses))
        await send(message)

    return send_with_headers


def _limit_headers(statuses: Sequence[LimitStatus]) -> dict[str, str]:
    """RateLimit header fields (draft-ietf-httpapi-ratelimit-headers-10)."""
    if not statuses:
        return {}
    policies = [f'"{status.name}";q={status.quota};w={status.window_s}' for status in statuses]
    limits = [f'"{status.name}";r={status.remaining};t={status.reset_s}' for status in statuses]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(limits)}
