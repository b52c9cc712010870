"""The page in Chromium: what it shows when the server is busy, fails or cannot be reached."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.conftest import Server
from tests.serve.api.browser.conftest import choose

pytestmark = [pytest.mark.ray, pytest.mark.browser]


def busy(times: int) -> Callable[[Route], None]:
    """A handler that answers 503 this many times, and then forwards requests to the server."""
    remaining = [times]

    def answer(route: Route) -> None:
        remaining[0] -= 1
        if remaining[0] < 0:
            route.continue_()
        else:
            route.fulfill(status=503, headers={"Retry-After": "0.01"}, json={"detail": "too many"})

    return answer


def test_a_request_to_a_busy_server_is_repeated(page: Page, pictures: list[FilePayload]) -> None:
    page.route("**/v1/tags*", busy(4))
    (card,) = choose(page, pictures[0])
    expect(card.locator(".tag")).to_have_count(3)


def test_the_page_gives_up_after_five_attempts(page: Page, pictures: list[FilePayload]) -> None:
    page.route("**/v1/tags*", busy(5))
    (card,) = choose(page, pictures[0])
    expect(card).to_contain_text("Not tagged: too many (tried 5 times)")
    card.get_by_role("button", name="Try again").click()
    expect(card.locator(".tag")).to_have_count(3)


def test_a_server_that_cannot_be_reached_is_reported(
    page: Page, pictures: list[FilePayload]
) -> None:
    page.route("**/v1/tags*", lambda route: route.abort())
    (card,) = choose(page, pictures[0])
    expect(card).to_contain_text("Not tagged: the server cannot be reached")
    page.unroute("**/v1/tags*")
    card.get_by_role("button", name="Try again").click()
    expect(card.locator(".tag")).to_have_count(3)


def test_loading_the_model_can_be_repeated(open_page: Callable[..., Page]) -> None:
    page = open_page("/docs")
    page.route("**/v1/model", lambda route: route.abort())
    page.goto("/")
    expect(page.get_by_role("alert")).to_contain_text("The model cannot be loaded")
    page.unroute("**/v1/model")
    page.get_by_role("alert").get_by_role("button").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#model-name")).not_to_be_empty()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "This server has no explanation service"),
        (504, "No explanation: not done within 10 s"),
    ],
)
def test_an_explanation_that_fails_shows_the_reason(
    page: Page, pictures: list[FilePayload], status: int, message: str
) -> None:
    page.route(
        "**/v1/explanations*",
        lambda route: route.fulfill(status=status, json={"detail": "not done within 10 s"}),
    )
    (card,) = choose(page, pictures[0])
    card.locator(".tag").first.click()
    expect(page.locator("#why .status")).to_contain_text(message)
    expect(page.locator("#why .again")).to_be_visible(visible=status == 504)


def test_without_an_explainer_the_page_offers_no_explanations(
    page: Page, server: Server, pictures: list[FilePayload]
) -> None:
    expect(page.locator(".lead")).to_contain_text("why")
    model = httpx.get(f"{server.url}/v1/model").json()
    page.route("**/v1/model", lambda route: route.fulfill(json=model | {"explained": False}))
    page.reload()
    expect(page.locator("#model-name")).not_to_be_empty()
    (card,) = choose(page, pictures[0])
    expect(card.locator(".tag .label").first).to_be_visible()
    expect(card.locator(".tag").first).to_be_disabled()
    expect(page.get_by_text("why").filter(visible=True)).to_have_count(0)
    expect(card.get_by_role("button", name="Accept")).to_be_enabled()
