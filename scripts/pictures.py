"""Make the pictures of `docs/images/` anew: the page, its dialog, and a picture of an explanation.

They show the synthetic sample only, never photographs. `make demo` draws the sample and serves its
model; while it runs:

    .venv/bin/python -m scripts.pictures demo/data

`--url` names another server of the sample. It needs Chromium.
"""

from __future__ import annotations

import re
import shutil
import urllib.request
from pathlib import Path

import click
from playwright.sync_api import Page, expect, sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs/images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# On the page, from the test split: a row of three cards is visible.
SHOWN = (
    "houses/houses-0002.jpg",
    "animals/animals-0001.jpg",
    "automobiles/automobiles-0001.jpg",
    "food/food-0003.jpg",
    "travel/travel-0002.jpg",
    "art/art-0004.jpg",
)
# The one that the tutorial explains.
EXPLAINED = "houses/houses-0015.jpg"
TIMEOUT_MS = 120_000


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--url", default="http://localhost:8000", show_default=True)
def main(data: Path, url: str) -> None:
    """Make the pictures from the sample at DATA and a server of its model."""
    test = data / "test"
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        raise click.ClickException(f"none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--headless=new", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(
            base_url=url,
            viewport={"width": 1000, "height": 780},
            color_scheme="light",
            reduced_motion="reduce",
        )
        tag(page, [test / name for name in SHOWN])
        page.screenshot(path=IMAGES / "page.png")
        tag(page, [test / EXPLAINED])
        explain(page)
        page.screenshot(path=IMAGES / "explanation.png")
        browser.close()
    (IMAGES / "overlay.png").write_bytes(overlay(url, test / EXPLAINED))


def tag(page: Page, paths: list[Path]) -> None:
    """Open the page, choose files, and wait for their tags."""
    page.goto("/")
    page.locator("#files").set_input_files(paths)
    for card in page.locator(".card").all():
        expect(card).to_have_attribute("data-state", re.compile("tagged"), timeout=TIMEOUT_MS)
    page.evaluate("scrollTo(0, 0)")


def explain(page: Page) -> None:
    """Open the explanation of the first card, and wait for it."""
    page.locator(".card .tag").first.click()
    dialog = page.locator("#why")
    expect(dialog).to_have_attribute("data-state", "answered", timeout=TIMEOUT_MS)


def overlay(url: str, path: Path) -> bytes:
    """The picture of an explanation, as `pintag explain` writes it."""
    request = urllib.request.Request(  # noqa: S310
        f"{url}/v1/explanations?mode=stable", path.read_bytes(), {"Accept": "image/png"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_MS / 1000) as response:  # noqa: S310
        content: bytes = response.read()
        return content


if __name__ == "__main__":
    main()
