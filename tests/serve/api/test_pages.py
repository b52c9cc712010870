"""The files of the page: their list, their headers, and that they need no other server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pintag.serve.api import pages
from tests.serve.conftest import Client, problem

FOLDER = Path(pages.__file__).with_name("page")
PATHS = [*pages.PAGES, *(f"/page/{path.name}" for path in pages.ASSETS)]
TYPES = {
    "/": "text/html; charset=utf-8",
    "/docs": "text/html; charset=utf-8",
    "/page/main.js": "text/javascript; charset=utf-8",
    "/page/style.css": "text/css; charset=utf-8",
    "/page/icon.svg": "image/svg+xml",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_file_has_headers_that_restrict_it_to_this_server(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.content
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in str(policy)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", TYPES)
def test_a_file_has_its_media_type(client: Client, path: str) -> None:
    assert client.get(path).headers["Content-Type"] == TYPES[path]


@pytest.mark.parametrize("path", PATHS)
def test_an_unchanged_file_is_not_sent_again(client: Client, path: str) -> None:
    first = client.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    for etags in (tag, f'"other", W/{tag}', "*"):
        again = client.request("GET", path, headers={"If-None-Match": etags})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
    changed = client.request("GET", path, headers={"If-None-Match": '"other"'})
    assert (changed.status_code, changed.content) == (200, first.content)


@pytest.mark.parametrize("path", ["/", "/docs", "/page/main.js"])
def test_head_has_the_same_headers_as_get(client: Client, path: str) -> None:
    got, head = client.get(path), client.request("HEAD", path)
    assert (head.status_code, head.headers) == (200, got.headers)


@pytest.mark.parametrize(
    "name", ["nothing.js", "index.html", "..%2fpages.py", "..%2f..%2fREADME.md"]
)
def test_a_file_that_is_not_listed_is_not_found(client: Client, name: str) -> None:
    assert problem(client.get(f"/page/{name}"), 404).kind == "not_found"


def test_every_file_of_the_folder_is_listed() -> None:
    listed = {*pages.PAGES.values(), *pages.ASSETS}
    assert set(FOLDER.iterdir()) == {path for path in listed if path.is_relative_to(FOLDER)}


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_no_file_refers_to_another_server(path: Path) -> None:
    text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)


def test_the_files_are_not_in_the_openapi_document(client: Client) -> None:
    assert not {"/", "/docs", "/page/{name}"} & set(client.get("/openapi.json").json()["paths"])
