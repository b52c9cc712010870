"""The section of one model claims no more than its figures show."""

from __future__ import annotations

import pytest

from pintag.report import model_section
from pintag.report.figure_store import FigureStore
from pintag.report.results import ReportedTrial
from pintag.report.view import Link, Table
from tests.pintag import studies


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([[17, 3], [2, 18]], "; the most frequent mistake is dogs for cats, 3 times."),
        ([[18, 2], [2, 18]], "; one of the most frequent mistakes is dogs for cats, 2 times."),
        ([[19, 1], [0, 20]], "; no mistake happened twice."),
        ([[20, 0], [0, 20]], "40 of 40 images are right."),
    ],
)
def test_the_caption_names_the_most_frequent_mistake(counts: list[list[int]], text: str) -> None:
    picture = model_section.confusion("file", "one", counts, studies.LABELS, FigureStore())
    assert picture.caption.endswith(text)
    assert picture.alt.endswith(text)


def test_a_trial_that_failed_refers_to_the_failures() -> None:
    trials = studies.grid(C=[1, 2], gamma=[0.1, 0.2])
    trials[0] = ReportedTrial(settings=trials[0].settings, failure="out of memory")
    model = studies.model("one", trials=trials)
    section = model_section.section(model, studies.LABELS, "1", "m1", FigureStore())
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert [row[-1] for row in tables[0].rows].count(Link("failed", "failures")) == 1
    assert "out of memory" not in str(section)


def test_a_model_without_test_figures_has_no_test_charts() -> None:
    model = studies.model("one", test=None, trials=[], chosen=None, history=[])
    store = FigureStore()
    section = model_section.section(model, studies.LABELS, "1", "m1", store)
    assert "no figures on the test split" in str(section)
    assert store.files == {}
