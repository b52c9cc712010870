"""The tables of a report fit a page of 1,280 pixels, and a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pintag.report import writer
from pintag.report.results import PredictionTime
from tests.pintag import studies

pytestmark = pytest.mark.browser

NAMES = (
    "mobilenet-0.25", "mobilenet-0.75", "views-0.25", "views-0.75", "tuned-0.75", "inception_v3",
    "resnet50", "vgg16", "cnn", "ann", "svm",
)  # fmt: skip
# For each table, by how many pixels it is wider than its place.
OVERFLOWS = """() => Object.fromEntries(
    [...document.querySelectorAll(".scroll")].map(
        (each) => [each.getAttribute("aria-label"), each.scrollWidth - each.clientWidth]))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study of eleven models, each timed in six ways."""
    folder = tmp_path_factory.mktemp("study")
    results = studies.results(
        [studies.model(name) for name in NAMES],
        pairs=[
            studies.pair(first, second, p=0.0001)
            for number, first in enumerate(NAMES)
            for second in NAMES[:number]
        ],
        cross_validation=[studies.folds("views-0.75", 18, 17, 19)],
        leaks=[studies.leak(1)],
    )
    predictions = [
        PredictionTime(entry=name, engine=engine, batch=batch, seconds=0.0123 * batch)
        for name in NAMES
        for engine in ("tensorflow", "openvino fp32", "openvino int8")
        for batch in (1, 32)
    ]
    timings = studies.timings(dict.fromkeys(NAMES, 0.01), predictions=predictions)
    writer.write(folder, results, timings)
    return folder / "report.html"


def opened(browser: Browser, report: Path, width: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(report.as_uri())
    return page


@pytest.mark.parametrize("width", [1280, 390])
def test_no_table_is_wider_than_the_page(browser: Browser, report: Path, width: int) -> None:
    page = opened(browser, report, width)
    overflows = page.evaluate(OVERFLOWS)
    assert "McNemar's exact test on the same test images" in overflows
    assert {name: pixels for name, pixels in overflows.items() if pixels > 0} == {}
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()


def test_on_a_phone_each_cell_has_the_name_of_its_column(browser: Browser, report: Path) -> None:
    page = opened(browser, report, 390)
    cell = page.get_by_role("region", name="Size and times").get_by_role("cell").first
    assert cell.evaluate("each => getComputedStyle(each, '::before').content") == '"parameters"'
    # The elements are a table to a screen reader all the same.
    assert page.get_by_role("table").count() == len(page.evaluate(OVERFLOWS))
    assert page.get_by_role("rowheader", name="vgg16").count() > 0
    page.close()
