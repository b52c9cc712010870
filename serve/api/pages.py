"""Serves the page at `/`, the API documentation at `/docs`, and their files at `/page/`.

The files are read into memory at start. Starlette's `StaticFiles` is not used: it derives an ETag
from the modification time, which differs between replicas, takes media types from tables of the
operating system, sends no security headers, and serves every file of a folder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from werkzeug.http import parse_etags

_PAGE = resources.files("pintag.serve.api") / "page"
_SWAGGER = resources.files("fastapi_swagger") / "resources"

PAGES = {"/": _PAGE / "index.html", "/docs": _PAGE / "docs.html"}
_SCRIPTS = ("api", "card", "choices", "docs", "files", "main", "overlay", "why", "words")
# The only files under /page/. A request never leads to a look-up on the disk.
ASSETS = (
    *(_PAGE / f"{name}.js" for name in _SCRIPTS),
    _PAGE / "icon.svg",
    _PAGE / "style.css",
    _SWAGGER / "swagger-ui-bundle.js",
    _SWAGGER / "swagger-ui.css",
)
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SAME_ORIGIN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
)
# Trusted types: the browser refuses to parse strings as HTML.
_STRICT = _SAME_ORIGIN + (
    "img-src 'self' blob:; require-trusted-types-for 'script'; trusted-types 'none'"
)
# Swagger UI renders Markdown as HTML, has icons in data URLs, and shows answers that are images.
_POLICIES = {"docs.html": _SAME_ORIGIN + "img-src 'self' data: blob:"}


@dataclass(frozen=True)
class _File:
    """A file in memory with its response headers."""

    content: bytes
    etag: str
    headers: dict[str, str]

    @classmethod
    def read(cls, path: Traversable) -> _File:
        content = path.read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        headers = {
            "Content-Type": _MEDIA_TYPES[PurePosixPath(path.name).suffix],
            "Content-Security-Policy": _POLICIES.get(path.name, _STRICT),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            # The browser keeps the file, and checks at each use whether it has changed.
            "Cache-Control": "no-cache",
            "ETag": f'"{etag}"',
        }
        return cls(content, etag, headers)

    async def respond(self, request: Request) -> Response:
        """The file, or 304 if the client has it already."""
        if parse_etags(request.headers.get("If-None-Match")).contains_weak(self.etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=self.headers)
        return Response(self.content, headers=self.headers)


def add(app: FastAPI) -> None:
    """Add the routes of the page, the documentation and their files to an application."""
    assets = {path.name: _File.read(path) for path in ASSETS}

    async def asset(request: Request) -> Response:
        file = assets.get(request.path_params["name"])
        if file is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return await file.respond(request)

    # `add_route` is Starlette's: it also answers HEAD, and adds nothing to the OpenAPI document.
    for path, page in PAGES.items():
        app.add_route(path, _File.read(page).respond)
    app.add_route("/page/{name}", asset)
