"""The page in Chromium: accepted and corrected categories, and their download."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.conftest import Server
from tests.serve.api.browser.conftest import choose

pytestmark = [pytest.mark.ray, pytest.mark.browser]


def test_accepted_and_corrected_choices_can_be_downloaded(
    page: Page, server: Server, pictures: list[FilePayload]
) -> None:
    names = ['=1+1, "a".jpg', "b.jpg"]
    first, second, third = pictures[:3]
    cards = choose(page, first | {"name": names[0]}, second | {"name": names[1]}, third)
    expect(page.get_by_role("button", name="Download CSV")).to_be_disabled()
    suggested = [card.locator(".label").first.inner_text() for card in cards]
    cards[0].get_by_role("button", name="Accept").click()
    other = cards[1].locator(".label").nth(1).inner_text()
    cards[1].get_by_label("Category of b.jpg").select_option(other)
    # Accepted and then undone: it is not in the files.
    cards[2].get_by_role("button", name="Accept").click()
    cards[2].get_by_role("button", name="Undo").click()

    model = httpx.get(f"{server.url}/v1/model").json()
    rows = json.loads(download(page, "JSON"))
    assert rows == [
        {
            "file": name,
            "suggested": label,
            "confidence": pytest.approx(row["confidence"]),
            "chosen": chosen,
            "decision": decision,
            "model": model["name"],
            "version": model["version"],
        }
        for row, name, label, chosen, decision in zip(
            rows,
            names,
            suggested,
            [suggested[0], other],
            ["accepted", "corrected"],
            strict=False,
        )
    ]
    table = list(csv.DictReader(io.StringIO(download(page, "CSV").removeprefix("\ufeff"))))
    # A spreadsheet would evaluate a cell that starts with an equals sign.
    assert table[0].pop("file") == f"'{rows[0].pop('file')}"
    assert table == [{key: str(value) for key, value in row.items()} for row in rows]


def download(page: Page, kind: str) -> str:
    with page.expect_download() as started:
        page.get_by_role("button", name=f"Download {kind}").click()
    return Path(started.value.path()).read_text("utf-8")


def answer_with(page: Page, *tags: tuple[str, float]) -> None:
    """Answer every request for tags with these."""
    listed = [{"label": label, "confidence": confidence} for label, confidence in tags]
    answer = {"model": {"name": "m", "version": "v"}, "tags": listed}
    page.route("**/v1/tags*", lambda route: route.fulfill(json=answer))


def test_all_sure_suggestions_can_be_accepted_at_once(
    page: Page, pictures: list[FilePayload]
) -> None:
    answer_with(page, ("art", 0.95), ("food", 0.05))
    choose(page, *pictures[:2])
    answer_with(page, ("art", 0.55), ("food", 0.45))
    unsure = choose(page, *pictures[2:5])
    page.locator("#accept-sure").click()
    expect(page.locator(".card.decided")).to_have_count(2)
    expect(page.locator("#counts")).to_have_text("5 tagged, 2 chosen")
    for card in unsure:
        expect(card.locator(".unsure")).to_have_text("Not sure: only 55\u00a0%")


def test_sure_means_at_least_the_bound_on_the_page(page: Page, pictures: list[FilePayload]) -> None:
    answer_with(page, ("art", 0.85), ("food", 0.15))
    (card,) = choose(page, pictures[0])
    accept = page.locator("#accept-sure")
    expect(page.get_by_label("Sure means at least")).to_have_value("0.9")
    expect(accept).to_have_text("No suggestion reaches 90\u00a0%")
    expect(accept).to_be_disabled()
    expect(card.locator(".unsure")).to_have_text("Not sure: only 85\u00a0%")
    page.get_by_label("Sure means at least").select_option("0.8")
    expect(card.locator(".unsure")).to_have_text("")
    expect(accept).to_have_text("Accept 1 sure suggestion")
    accept.click()
    expect(page.locator("#counts")).to_have_text("1 tagged, 1 chosen")
    expect(accept).to_have_text("Accept sure suggestions")


@pytest.mark.parametrize(
    "label", ["Süße Hunde", "street art & more", "日本", 'a"b', "10", "cafe\u0301", "a  b", "<b>"]
)
def test_a_label_of_any_kind_is_shown_and_downloaded_as_it_is(
    page: Page, pictures: list[FilePayload], label: str
) -> None:
    answer_with(page, (label, 0.95), ("food", 0.05))
    (card,) = choose(page, pictures[0])
    assert card.locator(".label").first.text_content() == label
    page.locator("#accept-sure").click()
    (row,) = json.loads(download(page, "JSON"))
    assert (row["suggested"], row["chosen"], row["decision"]) == (label, label, "accepted")
    (line,) = csv.DictReader(io.StringIO(download(page, "CSV").removeprefix("\ufeff")))
    assert (line["suggested"], line["chosen"]) == (label, label)


def test_the_memory_of_removed_images_is_freed(
    open_page: Callable[..., Page], pictures: list[FilePayload]
) -> None:
    page = open_page()
    page.evaluate(
        """() => {
            const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
            window.held = new Set();
            URL.createObjectURL = (blob) => {
                const url = create(blob);
                held.add(url);
                return url;
            };
            URL.revokeObjectURL = (url) => {
                held.delete(url);
                revoke(url);
            };
        }"""
    )
    cards = choose(page, *pictures[:3])
    cards[0].get_by_role("button", name="Remove").click()
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator(".card .remove").first).to_be_focused()
    assert page.evaluate("held.size") == 2
    page.get_by_role("button", name="Accept", exact=True).first.click()
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".card")).to_have_count(2)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".card")).to_have_count(0)
    expect(page.get_by_role("button", name="Choose images")).to_be_focused()
    assert page.evaluate("held.size") == 0
