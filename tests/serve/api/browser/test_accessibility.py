"""The page in Chromium: the keyboard, accessibility rules, and the documentation page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.serve.api.browser.conftest import CORRUPT, answered_dialog, choose

pytestmark = [pytest.mark.ray, pytest.mark.browser]


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"the Tab key does not reach {target}")


def test_the_page_can_be_used_by_keyboard_alone(page: Page, pictures: list[FilePayload]) -> None:
    tab_to(page, page.get_by_role("button", name="Choose images"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(pictures[0])
    tag = page.locator(".tag").nth(1)
    expect(tag).to_be_visible()
    tab_to(page, tag)
    page.keyboard.press("Enter")
    why = answered_dialog(page)
    tab_to(page, why.get_by_label("Superpixels shown"))
    page.keyboard.press("Home")
    expect(why.locator(".rank")).to_have_count(1)
    tab_to(page, why.locator(".rank"))
    expect(why.locator("tr.marked")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(why).to_be_hidden()
    expect(tag).to_be_focused()
    tab_to(page, page.get_by_role("button", name="Accept", exact=True))
    page.keyboard.press("Enter")
    expect(page.locator(".decision")).to_have_text("✓ accepted")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_accessibility_rule_is_violated(
    open_page: Callable[..., Page], pictures: list[FilePayload], scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    check(page)
    first, second, _ = choose(page, *pictures[:2], CORRUPT)
    first.get_by_role("button", name="Accept").click()
    check(page)
    second.locator(".tag").first.click()
    answered_dialog(page)
    check(page)
    page.route("**/v1/explanations*", lambda route: route.abort())
    page.get_by_label("Method").select_option("reference")
    expect(page.locator("#why .status")).to_contain_text("No explanation")
    check(page)


def check(page: Page) -> None:
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('#why').scrollWidth <= innerWidth")


def test_the_documentation_loads_nothing_from_other_servers(open_page: Callable[..., Page]) -> None:
    page = open_page("/docs")
    expect(page.locator(".opblock-summary-path").first).to_have_text("/v1/tags")
