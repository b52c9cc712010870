"""The page in Chromium: API keys, and the ways to add images and see their tags."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.conftest import Server
from tests.serve.api.browser.conftest import CORRUPT, choose

pytestmark = [pytest.mark.ray, pytest.mark.browser]


def require_key(page: Page) -> None:
    """Answer the page's requests as a server with keys does, which knows the key `right`."""

    def check_key(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            route.continue_()
        else:
            route.fulfill(status=401, json={"detail": "send the header 'Authorization: …'"})

    page.route("**/v1/**", check_key)


def test_the_page_asks_for_a_key_if_the_server_requires_one_and_sends_it(
    page: Page, pictures: list[FilePayload]
) -> None:
    require_key(page)
    page.reload()
    field = page.get_by_label("This server requires an API key")
    expect(field).to_be_focused()
    expect(page.locator("#model-error")).to_be_hidden()
    field.fill("wrong")
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("#key [role=alert]")).to_have_text("The server does not know this key.")
    assert Axe().run(page).response["violations"] == []
    field.fill("right")
    field.press("Enter")
    expect(page.locator("#key")).to_be_hidden()
    expect(page.locator("#model-version")).not_to_be_empty()
    (card,) = choose(page, pictures[0])
    expect(card).to_have_attribute("data-state", "tagged")
    page.reload()
    expect(page.locator("#model-version")).not_to_be_empty()
    expect(page.locator("#key")).to_be_hidden()


def test_a_key_that_no_header_can_have_keeps_the_form(page: Page) -> None:
    require_key(page)
    page.reload()
    field = page.get_by_label("This server requires an API key")
    for key in ("pintag\u2013right", "r\u00efght", "my right"):
        field.fill(key)
        field.press("Enter")
        expect(page.locator("#key [role=alert]")).to_contain_text("only letters, digits and _")
        expect(page.locator("#model-error")).to_be_hidden()
    field.fill(" right ")
    field.press("Enter")
    expect(page.locator("#key")).to_be_hidden()
    expect(page.locator("#model-version")).not_to_be_empty()


def test_images_that_are_added_before_the_key_are_tagged_when_it_is_accepted(
    page: Page, pictures: list[FilePayload]
) -> None:
    require_key(page)
    page.reload()
    field = page.get_by_label("This server requires an API key")
    expect(field).to_be_visible()
    cards = choose(page, *pictures[:5])
    for key in ("wrong", "right"):
        for card in cards:
            expect(card).to_contain_text("Not tagged: this server requires an API key")
            expect(card).to_contain_text("enter the key above")
            expect(card).not_to_contain_text("header")
        field.fill(key)
        field.press("Enter")
    for card in cards:
        expect(card).to_have_attribute("data-state", "tagged")
    expect(page.locator("#key")).to_be_hidden()


def test_a_key_that_the_server_no_longer_knows_is_asked_for_again(
    page: Page, pictures: list[FilePayload]
) -> None:
    expect(page.locator("#model-version")).not_to_be_empty()
    require_key(page)
    (card,) = choose(page, pictures[0])
    page.get_by_label("This server requires an API key").fill("right")
    page.get_by_role("button", name="Use this key").click()
    expect(card).to_have_attribute("data-state", "tagged")


def test_each_image_shows_the_tags_of_the_server(
    page: Page, server: Server, pictures: list[FilePayload]
) -> None:
    model = httpx.get(f"{server.url}/v1/model").json()
    expect(page.locator("#model")).to_contain_text(model["version"])
    expect(page.get_by_text("synthetic", exact=True)).to_be_visible()
    for card, picture in zip(choose(page, *pictures[:2]), pictures[:2], strict=True):
        answer = httpx.post(f"{server.url}/v1/tags?max_tags=3", content=picture["buffer"])
        labels = [tag["label"] for tag in answer.json()["tags"]]
        expect(card.locator(".tag .label")).to_have_text(labels)
        expect(card.get_by_role("heading")).to_have_text(picture["name"])
    expect(page.locator("#announcer")).to_have_text("2 images tagged")


def test_a_corrupt_file_shows_its_error_and_the_others_are_tagged(
    page: Page, pictures: list[FilePayload]
) -> None:
    first, corrupt, last = choose(page, pictures[0], CORRUPT, pictures[1])
    expect(corrupt).to_contain_text("Not tagged: the JPEG is cut off or damaged: the file ends")
    expect(corrupt.locator(".no-preview")).to_be_visible()
    for card in (first, last):
        expect(card.locator(".tag")).to_have_count(3)


def test_a_pasted_image_is_tagged(page: Page, pictures: list[FilePayload]) -> None:
    page.evaluate(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "image.png"));
            dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        }""",
        list(pictures[0]["buffer"]),
    )
    expect(page.locator(".card .tag")).to_have_count(3)
    expect(page.locator(".card h3")).to_have_text("pasted-1.png")


def test_dropped_images_and_folders_are_tagged(
    page: Page, sample_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "art"
    shutil.copytree(sample_dir / "test" / "art", folder)
    file = min((sample_dir / "test" / "food").iterdir())
    names = sorted(path.name for path in [file, *folder.iterdir()])
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (folder / name).write_bytes(b"a system's own")
    drag = {"items": [], "files": [str(folder), str(file)], "dragOperationsMask": 1}
    mouse = page.context.new_cdp_session(page)
    for step in ("dragEnter", "dragOver", "drop"):
        mouse.send("Input.dispatchDragEvent", {"type": step, "x": 9, "y": 9, "data": drag})
    expect(page.locator('[data-state="tagged"]')).to_have_count(len(names))
    assert sorted(page.locator(".card h3").all_inner_texts()) == names


def test_a_suggestion_of_low_confidence_is_marked_as_not_sure(
    page: Page, pictures: list[FilePayload]
) -> None:
    answer = {"model": {"name": "m", "version": "v"}, "tags": [{"label": "art", "confidence": 0.4}]}
    page.route("**/v1/tags*", lambda route: route.fulfill(json=answer))
    (card,) = choose(page, pictures[0])
    expect(card).to_contain_text("Not sure: only 40\u00a0%")
    expect(page.locator("#accept-sure")).to_be_disabled()


def test_a_file_name_is_not_parsed_as_html(page: Page, pictures: list[FilePayload]) -> None:
    name = "<img src=x onerror=alert(1)>.jpg"
    (card,) = choose(page, pictures[0] | {"name": name})
    expect(card.get_by_role("heading")).to_have_text(name)


def test_at_most_four_images_are_tagged_at_once(page: Page, pictures: list[FilePayload]) -> None:
    held: list[Route] = []
    page.route("**/v1/tags*", lambda route: held.append(route))
    page.locator("#files").set_input_files(pictures[:6])
    expect(page.locator('[data-state="tagging"]')).to_have_count(4)
    expect(page.locator('[data-state="waiting"]')).to_have_count(2)
    held[0].continue_()
    expect(page.locator('[data-state="tagged"]')).to_have_count(1)
    expect(page.locator('[data-state="tagging"]')).to_have_count(4)
