"""What a request meets first: rules about headers, origins, paths and methods.

They come before the API key is checked, because browsers ask about origins without a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from pintag.serve.api import error_handlers, schemas
from pintag.serve.config import ApiConfig
from pintag.serve.errors import LongHeadersError, LongUriError

# Apache and nginx accept no longer line, and Tomcat no longer headers.
MAX_URI_BYTES = MAX_HEADER_BYTES = 8 * 1024
# The server does not read them, and a browser sends those of all pages of a domain.
_UNREAD = b"cookie"

_REQUEST_HEADERS = (
    "Authorization", "Content-Encoding", "If-None-Match", "Traceparent", "X-Request-ID",
)  # fmt: skip
_RESPONSE_HEADERS = ("ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID")
_METHODS = ("GET", "HEAD", "POST")
# What to do about each of Starlette's reasons to refuse a preflight, by a word of the reason.
_REMEDIES = {
    "origin": "http.cors_origins lists the allowed origins",
    "method": f"pages may use {', '.join(_METHODS)}",
    "headers": f"pages may send {', '.join(('Accept', 'Content-Type', *_REQUEST_HEADERS))}",
}


def wrap(app: ASGIApp, config: ApiConfig) -> ASGIApp:
    """The application behind the rules."""
    paths = Paths(app, config.root_path)
    return HeaderLimits(Origins(paths, config.cors_origins) if config.cors_origins else paths)


class _Wrapper:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The application's routes: Ray's metrics take the names of requests from them."""
        routes: Sequence[BaseRoute] = getattr(self._app, "routes", ())
        return routes


class HeaderLimits(_Wrapper):
    """Refuses a request with a long path, query or headers before anything reads them.

    They are read in Python on the event loop. HAProxy lets up to `http.retry_bytes` of them pass,
    and 200 KB of commas take 60 ms to read.
    """

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


class Paths(_Wrapper):
    """Removes the root path and a slash at the end, and answers OPTIONS."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        super().__init__(app)
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        # An endpoint of the API is the same with a slash at its end. A page is not: its links are
        # relative to its path.
        plain = without(path, self._root_path)
        if plain.startswith("/v1/") and plain[-1] == "/":
            plain = plain[:-1]
        if plain != path or scope.get("root_path"):
            # Ray takes the application's route prefix as the root path, and leaves it in the path.
            scope = {**scope, "path": plain, "root_path": ""}
        if scope["method"] == "OPTIONS":
            await self._options(scope)(scope, receive, send)
        elif location := self._page(scope):
            headers = {"Location": location}
            response = Response(status_code=HTTPStatus.PERMANENT_REDIRECT, headers=headers)
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _options(self, scope: Scope) -> Response:
        """The methods of a path."""
        methods = _METHODS if scope["path"] == "*" else self._methods(scope)
        if not methods:
            return error_handlers.problem_response(
                schemas.http_problem(HTTPStatus.NOT_FOUND, error_handlers.nothing_at(scope))
            )
        allow = ", ".join(sorted({*methods, "OPTIONS"}))
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": allow})

    def _methods(self, scope: Scope) -> set[str]:
        methods: set[str] = set()
        for route in self.routes:
            if route.matches(scope)[0] is not Match.NONE:
                methods |= getattr(route, "methods", None) or set()
        return methods

    def _page(self, scope: Scope) -> str:
        """Where a page really is, relative to a path that differs by a slash; empty if it is there.

        Relative, because a proxy may have removed a prefix, or have ended TLS.
        """
        path: str = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            return ""
        if self._root_path and path == self._root_path:
            return f"{path.rpartition('/')[2]}/"
        if path in ("/docs/", "/openapi.json/"):
            return f"..{path[:-1]}"
        return ""


class Origins(CORSMiddleware):
    """Starlette's middleware for requests of other origins, with its refusals as problems."""

    def __init__(self, app: Paths, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )
        self.routes = app.routes

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks whether a page may send a request."""
        response = super().preflight_response(request_headers)
        if response.status_code < HTTPStatus.BAD_REQUEST:
            return response
        reason = bytes(response.body).decode()
        remedies = [remedy for word, remedy in _REMEDIES.items() if word in reason]
        refusal = schemas.http_problem(HTTPStatus.BAD_REQUEST, "; ".join([reason, *remedies]))
        return error_handlers.problem_response(refusal, {"Vary": response.headers["Vary"]})


def without(path: str, prefix: str) -> str:
    """A path without its prefix, if it has it."""
    return path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path
