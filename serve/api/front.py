"""What a request meets first: rules about origins, paths and methods, before the key is checked."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from pintag.serve.api import error_handlers, schemas
from pintag.serve.api.head_limits import HeadLimits
from pintag.serve.config import ApiConfig

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
    """The application behind the rules. Browsers ask about origins without an API key."""
    front = Front(app, config.root_path)
    return HeadLimits(Origins(front, config.cors_origins) if config.cors_origins else front)


class Front:
    """Removes the root path and a slash at the end, and answers OPTIONS."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app, self._root_path = app, root_path

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The application's routes: Ray's metrics take the names of requests from them."""
        routes: Sequence[BaseRoute] = getattr(self._app, "routes", ())
        return routes

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

    def __init__(self, app: Front, origins: Sequence[str]) -> None:
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
