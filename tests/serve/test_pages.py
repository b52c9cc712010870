"""The page's files: which there are, how they are served, and that they need no other server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serve import pages
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
def test_a_file_is_served_with_headers_that_keep_it_to_this_server(
    client: Client, path: str
) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.content
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in str(policy)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", TYPES)
def test_a_file_is_called_what_it_is(client: Client, path: str) -> None:
    assert client.get(path).headers["Content-Type"] == TYPES[path]


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_the_browser_has_is_not_sent_again(client: Client, path: str) -> None:
    first = client.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    for known in (tag, f'"other", W/{tag}'):
        again = client.request("GET", path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
    changed = client.request("GET", path, headers={"If-None-Match": '"other"'})
    assert (changed.status_code, changed.content) == (200, first.content)


@pytest.mark.parametrize("path", ["/", "/docs", "/page/main.js"])
def test_head_tells_what_get_would(client: Client, path: str) -> None:
    got, head = client.get(path), client.request("HEAD", path)
    assert (head.status_code, head.headers) == (200, got.headers)


@pytest.mark.parametrize(
    "name", ["nothing.js", "index.html", "..%2fpages.py", "..%2f..%2fREADME.md"]
)
def test_what_is_not_listed_is_not_there(client: Client, name: str) -> None:
    assert problem(client.get(f"/page/{name}"), 404).kind == "not_found"


def test_every_file_of_the_folder_is_listed() -> None:
    listed = {*pages.PAGES.values(), *pages.ASSETS}
    assert set(FOLDER.iterdir()) == {path for path in listed if path.is_relative_to(FOLDER)}


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_no_file_refers_to_another_server(path: Path) -> None:
    text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)


def test_the_files_are_no_part_of_the_api(client: Client) -> None:
    assert not {"/", "/docs", "/page/{name}"} & set(client.get("/openapi.json").json()["paths"])
