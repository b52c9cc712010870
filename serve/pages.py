"""The page and the API's documentation: files of this package, and none from anywhere else."""

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

_OURS = resources.files("serve") / "page"
_SWAGGER = resources.files("fastapi_swagger") / "resources"

PAGES = {"/": _OURS / "index.html", "/docs": _OURS / "docs.html"}
_SCRIPTS = ("api", "card", "choices", "docs", "files", "main", "overlay", "why", "words")
# What is under /page/: nothing else on the disk is ever looked for.
ASSETS = (
    *(_OURS / f"{name}.js" for name in _SCRIPTS),
    _OURS / "icon.svg",
    _OURS / "style.css",
    _SWAGGER / "swagger-ui-bundle.js",
    _SWAGGER / "swagger-ui.css",
)
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SAME_ORIGIN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
)
# Trusted types: the browser itself refuses to make HTML of a string.
_STRICT = _SAME_ORIGIN + (
    "img-src 'self' blob:; require-trusted-types-for 'script'; trusted-types 'none'"
)
# Swagger UI makes HTML of Markdown, has icons in data URLs, and shows images that are answers.
_POLICIES = {"docs.html": _SAME_ORIGIN + "img-src 'self' data: blob:"}


@dataclass(frozen=True)
class _File:
    """A file in memory, and the headers that go with it."""

    content: bytes
    headers: dict[str, str]

    @classmethod
    def read(cls, path: Traversable) -> _File:
        content = path.read_bytes()
        headers = {
            "Content-Type": _TYPES[PurePosixPath(path.name).suffix],
            "Content-Security-Policy": _POLICIES.get(path.name, _STRICT),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            # Kept by browsers, and asked for at each use: a new version is seen at once.
            "Cache-Control": "no-cache",
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
        }
        return cls(content, headers)

    async def answer(self, request: Request) -> Response:
        if self.headers["ETag"] in request.headers.get("If-None-Match", ""):
            return Response(status_code=304, headers=self.headers)
        return Response(self.content, headers=self.headers)


def add(app: FastAPI) -> None:
    """Serve the page at /, the documentation at /docs, and their files under /page/."""
    assets = {path.name: _File.read(path) for path in ASSETS}

    async def asset(request: Request) -> Response:
        found = assets.get(request.path_params["name"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return await found.answer(request)

    # Starlette's own routes answer HEAD too, and are no part of the OpenAPI document.
    for path, page in PAGES.items():
        app.add_route(path, _File.read(page).answer)
    app.add_route("/page/{name}", asset)
