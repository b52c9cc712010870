"""The page in Chromium, in front of a real server: what its users see, hear and take away."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    FilePayload,
    Locator,
    Page,
    Route,
    expect,
    sync_playwright,
)

from tests.conftest import Server

pytestmark = [pytest.mark.ray, pytest.mark.browser]

BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Browsers report every answer that is no success; the page shows these in words.
ANSWERED = re.compile(r"Failed to load resource: the server responded with a status of [45]\d\d")
ABORTED = re.compile(r"Failed to load resource: net::ERR_FAILED")
CORRUPT: FilePayload = {
    "name": "corrupt.jpg",
    "mimeType": "image/jpeg",
    "buffer": b"\xff\xd8\xff\xe0 no image",
}

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens the page; whatever the test does, no other server is asked and nothing goes wrong."""
    asked: list[str] = []
    said: list[str] = []
    contexts = []

    def open_page(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(base_url=server.url, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        # Asked for later, it can come too late for the key that opens one on a busy machine.
        page.on("filechooser", lambda chooser: None)
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.removeprefix("blob:").startswith(server.url)] == []
    assert [text for text in said if not (ANSWERED.match(text) or ABORTED.match(text))] == []


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
    """Choose files as the button does, and wait for what becomes of them."""
    page.locator("#files").set_input_files(list(files))
    cards = page.locator(".card").all()[-len(files) :]
    for card in cards:
        expect(card).to_have_attribute("data-state", re.compile("tagged|failed"))
    return cards


def ask_why(page: Page, picture: FilePayload) -> Locator:
    """Ask about a picture's first suggestion, and wait for the answer."""
    (card,) = choose(page, picture)
    card.locator(".tag").first.click()
    return answered(page)


def answered(page: Page) -> Locator:
    why = page.locator("#why")
    expect(why).to_have_attribute("data-state", "answered")
    return why


def overlay(page: Page) -> str:
    drawn: str = page.locator("#why canvas").evaluate("canvas => canvas.toDataURL()")
    return drawn


# Keys


def test_a_key_is_asked_for_where_the_server_wants_one_and_brought_from_then_on(
    page: Page, server: Server, pictures: list[FilePayload]
) -> None:
    def door(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            route.continue_()
        else:
            route.fulfill(status=401, json={"detail": "a key is needed"})

    page.route("**/v1/**", door)
    page.reload()
    field = page.get_by_label("This server asks for a key")
    expect(field).to_be_focused()
    expect(page.locator("#trouble")).to_be_hidden()
    field.fill("wrong")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#key [role=alert]")).to_have_text("Nobody has that key.")
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


# Tags


def test_each_image_shows_the_servers_tags(
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


def test_a_corrupt_file_shows_its_error_and_its_neighbours_are_tagged(
    page: Page, pictures: list[FilePayload]
) -> None:
    first, corrupt, last = choose(page, pictures[0], CORRUPT, pictures[1])
    expect(corrupt).to_contain_text("Not tagged: the image is corrupt")
    expect(corrupt.locator(".no-shot")).to_be_visible()
    for card in (first, last):
        expect(card.locator(".tag")).to_have_count(3)


def test_an_image_is_pasted(page: Page, pictures: list[FilePayload]) -> None:
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


def test_images_are_dropped_and_folders_of_them(page: Page, sample_dir: Path) -> None:
    folder = sample_dir / "test" / "art"
    alone = min((sample_dir / "test" / "food").iterdir())
    drag = {"items": [], "files": [str(folder), str(alone)], "dragOperationsMask": 1}
    mouse = page.context.new_cdp_session(page)
    for step in ("dragEnter", "dragOver", "drop"):
        mouse.send("Input.dispatchDragEvent", {"type": step, "x": 9, "y": 9, "data": drag})
    names = sorted(path.name for path in [alone, *folder.iterdir()])
    expect(page.locator('[data-state="tagged"]')).to_have_count(len(names))
    assert sorted(page.locator(".card h3").all_inner_texts()) == names


def test_a_guess_that_is_not_sure_is_called_so(page: Page, pictures: list[FilePayload]) -> None:
    guess = {"model": {"name": "m", "version": "v"}, "tags": [{"label": "art", "confidence": 0.4}]}
    page.route("**/v1/tags*", lambda route: route.fulfill(json=guess))
    (card,) = choose(page, pictures[0])
    expect(card).to_contain_text("Not sure: 40\u00a0% at best")
    expect(page.locator("#accept-sure")).to_be_disabled()


def test_a_files_name_is_never_html(page: Page, pictures: list[FilePayload]) -> None:
    name = "<img src=x onerror=alert(1)>.jpg"
    (card,) = choose(page, pictures[0] | {"name": name})
    expect(card.get_by_role("heading")).to_have_text(name)


def test_four_images_are_asked_about_at_once(page: Page, pictures: list[FilePayload]) -> None:
    held: list[Route] = []
    page.route("**/v1/tags*", lambda route: held.append(route))
    page.locator("#files").set_input_files(pictures[:6])
    expect(page.locator('[data-state="asking"]')).to_have_count(4)
    expect(page.locator('[data-state="waiting"]')).to_have_count(2)
    held[0].continue_()
    expect(page.locator('[data-state="tagged"]')).to_have_count(1)
    expect(page.locator('[data-state="asking"]')).to_have_count(4)


# Errors


def busy(times: int) -> Callable[[Route], None]:
    """Answers 503 so many times, and then lets the server answer."""
    left = [times]

    def answer(route: Route) -> None:
        left[0] -= 1
        if left[0] < 0:
            route.continue_()
        else:
            route.fulfill(status=503, headers={"Retry-After": "0.01"}, json={"detail": "too many"})

    return answer


def test_a_busy_server_is_asked_again(page: Page, pictures: list[FilePayload]) -> None:
    page.route("**/v1/tags*", busy(4))
    (card,) = choose(page, pictures[0])
    expect(card.locator(".tag")).to_have_count(3)


def test_a_server_that_stays_busy_is_given_up(page: Page, pictures: list[FilePayload]) -> None:
    page.route("**/v1/tags*", busy(5))
    (card,) = choose(page, pictures[0])
    expect(card).to_contain_text("Not tagged: too many (asked 5 times)")
    card.get_by_role("button", name="Try again").click()
    expect(card.locator(".tag")).to_have_count(3)


def test_a_server_that_cannot_be_reached_is_said_in_words(
    page: Page, pictures: list[FilePayload]
) -> None:
    page.route("**/v1/tags*", lambda route: route.abort())
    (card,) = choose(page, pictures[0])
    expect(card).to_contain_text("Not tagged: the server cannot be reached")
    page.unroute("**/v1/tags*")
    card.get_by_role("button", name="Try again").click()
    expect(card.locator(".tag")).to_have_count(3)


def test_a_model_that_is_not_known_can_be_asked_for_again(open_page: Callable[..., Page]) -> None:
    page = open_page("/docs")
    page.route("**/v1/model", lambda route: route.abort())
    page.goto("/")
    expect(page.get_by_role("alert")).to_contain_text("The model is not known")
    page.unroute("**/v1/model")
    page.get_by_role("alert").get_by_role("button").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#model-name")).not_to_be_empty()


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "it has no explanation service"), (504, "No explanation: not done within 10 s")],
)
def test_an_explanation_that_fails_says_why(
    page: Page, pictures: list[FilePayload], status: int, words: str
) -> None:
    page.route(
        "**/v1/explanations*",
        lambda route: route.fulfill(status=status, json={"detail": "not done within 10 s"}),
    )
    (card,) = choose(page, pictures[0])
    card.locator(".tag").first.click()
    expect(page.locator("#why .status")).to_contain_text(words)
    expect(page.locator("#why .again")).to_be_visible(visible=status == 504)


def test_where_there_is_no_explainer_none_is_offered(
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


# Why?


def test_a_click_on_a_category_marks_its_superpixels_and_lists_them(
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
    why = answered(page)
    expect(why.get_by_role("heading")).to_have_text(f"Why “{label}”?")
    expect(why.locator("tbody .rank").first).to_have_text(re.compile(r"^\W1$"))
    expect(why.locator(".fit")).to_contain_text("R² = ")
    assert overlay(page) != blank


def test_another_category_is_explained_otherwise(page: Page, pictures: list[FilePayload]) -> None:
    why = ask_why(page, pictures[0])
    first, listed = overlay(page), why.locator("tbody").inner_text()
    with page.expect_request("**/v1/explanations*"):
        why.get_by_label("Category").select_option(index=1)
    answered(page)
    assert overlay(page) != first
    assert why.locator("tbody").inner_text() != listed


def test_the_slider_says_how_many_are_shown(page: Page, pictures: list[FilePayload]) -> None:
    why = ask_why(page, pictures[0])
    drawn = set()
    for number in (1, 2):
        why.get_by_label("Superpixels shown").fill(str(number))
        expect(why.locator(".rank")).to_have_count(number)
        expect(why.locator("output")).to_have_text(re.compile(rf"^{number} of \d+$"))
        drawn.add(overlay(page))
    assert len(drawn) == 2


def test_a_row_that_is_pointed_at_or_reached_stands_out_in_the_picture(
    page: Page, pictures: list[FilePayload]
) -> None:
    why = ask_why(page, pictures[0])
    plain = overlay(page)
    why.locator("tbody tr").first.hover()
    marked = overlay(page)
    assert marked != plain
    why.get_by_role("heading").hover()
    assert overlay(page) == plain
    why.locator(".rank").first.focus()
    assert overlay(page) == marked


def test_an_explanation_nobody_waits_for_is_given_up(
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


STABLE = {"mode": "stable", "level": 0.95, "samples": 500}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"outcome": "separated", "claimed": 5}, "After 500 samples, the first 5 superpixels are"),
        ({"outcome": "budget", "claimed": 2}, "only the first 2 superpixels are told apart"),
        ({"outcome": "budget", "claimed": 1}, "only the first superpixel is told apart"),
        ({"outcome": "budget", "claimed": 0}, "no superpixel stands out reliably"),
        ({"outcome": "deadline", "claimed": 2}, "cut short by the time limit after 500 samples"),
        (
            {"outcome": "budget", "mode": "reference", "claimed": None},
            "another seed may name other",
        ),
    ],
)
def test_no_more_is_claimed_than_the_answer_does(
    page: Page, answer: dict[str, Any], words: str
) -> None:
    claim = "async (answer) => (await import('/page/words.js')).claim(answer)"
    assert words in page.evaluate(claim, STABLE | answer)


# Choices


def test_accepted_and_corrected_choices_can_be_taken_away(
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
    # Decided and undone: it is not in the files.
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
    # A spreadsheet would compute a cell that opens with an equals sign.
    assert table[0].pop("file") == f"'{rows[0].pop('file')}"
    assert table == [{key: str(value) for key, value in row.items()} for row in rows]


def download(page: Page, kind: str) -> str:
    with page.expect_download() as started:
        page.get_by_role("button", name=f"Download {kind}").click()
    return Path(started.value.path()).read_text("utf-8")


def test_the_sure_suggestions_are_accepted_together(
    page: Page, pictures: list[FilePayload]
) -> None:
    cards = choose(page, *pictures)
    sure = [card for card in cards if not card.locator(".doubt").inner_text()]
    page.locator("#accept-sure").click()
    expect(page.locator(".card.decided")).to_have_count(len(sure))
    expect(page.locator("#counts")).to_have_text(f"8 tagged, {len(sure)} chosen")


def test_removed_images_are_let_go(
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


# Everyone


def tab_to(page: Page, wanted: Locator) -> None:
    """Go there by the keyboard, as far as it takes."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")


def test_the_keyboard_is_enough(page: Page, pictures: list[FilePayload]) -> None:
    tab_to(page, page.get_by_role("button", name="Choose images"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(pictures[0])
    tag = page.locator(".tag").nth(1)
    expect(tag).to_be_visible()
    tab_to(page, tag)
    page.keyboard.press("Enter")
    why = answered(page)
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
def test_no_rule_of_accessibility_is_broken(
    open_page: Callable[..., Page], pictures: list[FilePayload], scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    check(page)
    first, second, _ = choose(page, *pictures[:2], CORRUPT)
    first.get_by_role("button", name="Accept").click()
    check(page)
    second.locator(".tag").first.click()
    answered(page)
    check(page)
    page.route("**/v1/explanations*", lambda route: route.abort())
    page.get_by_label("Method").select_option("reference")
    expect(page.locator("#why .status")).to_contain_text("No explanation")
    check(page)


def check(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('#why').scrollWidth <= innerWidth")


# The documentation


def test_the_documentation_needs_no_other_server(open_page: Callable[..., Page]) -> None:
    page = open_page("/docs")
    expect(page.locator(".opblock-summary-path").first).to_have_text("/v1/tags")
