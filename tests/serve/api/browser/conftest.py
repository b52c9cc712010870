"""Fixtures and helpers for tests of the page in Chromium, with a real server."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    FilePayload,
    Locator,
    Page,
    expect,
    sync_playwright,
)

from tests.conftest import Server

BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Chromium logs each response with an error status; the page shows these errors to the user.
FAILED = re.compile(r"Failed to load resource: the server responded with a status of [45]\d\d")
ABORTED = re.compile(r"Failed to load resource: net::ERR_FAILED")
CORRUPT: FilePayload = {
    "name": "corrupt.jpg",
    "mimeType": "image/jpeg",
    "buffer": b"\xff\xd8\xff\xe0 no image",
}

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens the page. Afterwards: no request went to another server, and the console is clean."""
    requests: list[str] = []
    messages: list[str] = []
    contexts = []

    def open_page(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(base_url=server.url, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        # Registered now: on a busy machine a later handler could miss the first dialog.
        page.on("filechooser", lambda chooser: None)
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in requests if not url.removeprefix("blob:").startswith(server.url)] == []
    assert [text for text in messages if not (FAILED.match(text) or ABORTED.match(text))] == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


@pytest.fixture(scope="module")
def pictures(sample_dir: Path) -> list[FilePayload]:
    """One picture of each label."""
    paths = [min(folder.iterdir()) for folder in sorted((sample_dir / "test").iterdir())]
    return [
        {"name": path.name, "mimeType": "image/jpeg", "buffer": path.read_bytes()} for path in paths
    ]


def choose(page: Page, *files: FilePayload) -> list[Locator]:
    """Choose files as the button does, and wait until each is tagged or has failed."""
    page.locator("#files").set_input_files(list(files))
    cards = page.locator(".card").all()[-len(files) :]
    for card in cards:
        expect(card).to_have_attribute("data-state", re.compile("tagged|failed"))
    return cards


def explain_first(page: Page, picture: FilePayload) -> Locator:
    """Open the explanation of a picture's first suggestion, and wait for the answer."""
    (card,) = choose(page, picture)
    card.locator(".tag").first.click()
    return answered_dialog(page)


def answered_dialog(page: Page) -> Locator:
    """The dialog, once it shows an explanation."""
    why = page.locator("#why")
    expect(why).to_have_attribute("data-state", "answered")
    return why


def overlay(page: Page) -> str:
    """The content of the canvas, as a data URL."""
    url: str = page.locator("#why canvas").evaluate("canvas => canvas.toDataURL()")
    return url
