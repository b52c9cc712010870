"""Refuses requests with long heads before anything reads them.

Queries, conditions and lists of media types are read in Python on the event loop. HAProxy lets
heads of up to `http.retry_bytes` pass, and 200 KB of commas take 60 ms to read.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from pintag.serve.api import error_handlers, schemas
from pintag.serve.errors import LongHeadersError, LongUriError

# Apache and nginx accept no longer line, and Tomcat no longer head.
MAX_URI_BYTES = MAX_HEADER_BYTES = 8 * 1024
# The server does not read them, and a browser sends those of all pages of a domain.
_UNREAD = b"cookie"


class HeadLimits:
    """Answers a request with a long head, and passes others on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The application's routes: Ray's metrics take the names of requests from them."""
        routes: Sequence[BaseRoute] = getattr(self._app, "routes", ())
        return routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "http" and (error := _refusal(scope)):
            response = error_handlers.problem_response(schemas.problem(error))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _refusal(scope: Scope) -> Exception | None:
    if len(scope["path"]) + len(scope["query_string"]) > MAX_URI_BYTES:
        return LongUriError(f"the path and the query have more than {MAX_URI_BYTES:,} bytes")
    total = sum(len(value) for name, value in scope["headers"] if name != _UNREAD)
    if total > MAX_HEADER_BYTES:
        return LongHeadersError(f"the headers have more than {MAX_HEADER_BYTES:,} bytes")
    return None
