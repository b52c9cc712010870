"""The page in Chromium: the dialog that explains a category."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.serve.api.browser.conftest import answered_dialog, choose, explain_first, overlay

pytestmark = [pytest.mark.ray, pytest.mark.browser]


def test_a_click_on_a_category_marks_and_lists_its_superpixels(
    page: Page, pictures: list[FilePayload]
) -> None:
    (card,) = choose(page, pictures[0])
    tag = card.locator(".tag").first
    label = tag.locator(".label").inner_text()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/v1/explanations*", hold)
    with page.expect_request("**/v1/explanations*"):
        tag.click()
    blank = overlay(page)
    held.pop().continue_()
    why = answered_dialog(page)
    expect(why.get_by_role("heading")).to_have_text(f"Why “{label}”?")
    expect(why.locator("tbody .rank").first).to_have_text(re.compile(r"^1\s\W$"))
    expect(why.locator(".fit")).to_contain_text("R² = ")
    assert overlay(page) != blank


def test_another_category_has_another_explanation(page: Page, pictures: list[FilePayload]) -> None:
    why = explain_first(page, pictures[0])
    first, rows = overlay(page), why.locator("tbody").inner_text()
    with page.expect_request("**/v1/explanations*"):
        why.get_by_label("Category").select_option(index=1)
    answered_dialog(page)
    assert overlay(page) != first
    assert why.locator("tbody").inner_text() != rows


def test_the_slider_sets_the_number_of_superpixels(page: Page, pictures: list[FilePayload]) -> None:
    why = explain_first(page, pictures[0])
    drawn = set()
    for number in (1, 2):
        why.get_by_label("Superpixels shown").fill(str(number))
        expect(why.locator(".rank")).to_have_count(number)
        expect(why.locator("output")).to_have_text(re.compile(rf"^{number} of \d+$"))
        drawn.add(overlay(page))
    assert len(drawn) == 2


def test_a_row_with_the_pointer_or_the_focus_is_highlighted_in_the_picture(
    page: Page, pictures: list[FilePayload]
) -> None:
    why = explain_first(page, pictures[0])
    plain = overlay(page)
    why.locator("tbody tr").first.hover()
    marked = overlay(page)
    assert marked != plain
    why.get_by_role("heading").hover()
    assert overlay(page) == plain
    why.locator(".rank").first.focus()
    assert overlay(page) == marked


def test_an_explanation_that_is_no_longer_needed_is_aborted(
    page: Page, pictures: list[FilePayload]
) -> None:
    page.route("**/v1/explanations*", lambda route: None)
    (card,) = choose(page, pictures[0])
    card.locator(".tag").first.click()
    expect(page.locator("#why .clock")).to_have_text(re.compile(r"^\d+\.\d s$"))
    with page.expect_event("requestfailed"):
        page.locator("#why").get_by_label("Category").select_option(index=1)
    with page.expect_event("requestfailed"):
        page.keyboard.press("Escape")
    expect(page.locator("#why")).to_be_hidden()


def test_the_dialog_shows_the_words_of_the_answer(page: Page, pictures: list[FilePayload]) -> None:
    with page.expect_response("**/v1/explanations?*") as received:
        why = explain_first(page, pictures[0])
    summary = received.value.json()["summary"]
    assert summary["claim"].endswith(".")
    expect(why.locator(".status")).to_have_text(summary["claim"])
    expect(why.locator(".fit")).to_contain_text(summary["fit"])
