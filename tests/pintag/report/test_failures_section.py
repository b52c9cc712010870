"""Failures: each reason once, with a remedy."""

from __future__ import annotations

import pytest

from pintag.report import failures_section
from pintag.report.results import ReportedTrial
from pintag.report.view import Table
from tests.pintag import studies


def test_a_failed_model_has_one_row_with_its_trials() -> None:
    (table, _) = failures_section.section([studies.failed("svm"), studies.model("good")]).blocks
    assert isinstance(table, Table)
    ((model, part, reason, remedy),) = table.rows
    assert (model, part, reason) == ("svm", "trial 1: C 1, gamma 0.1", "out of memory")
    assert "batch size" in str(remedy)


def test_trials_with_the_same_reason_share_a_row() -> None:
    settings = ({"C": 1.0}, {"C": 2.0}, {"C": 4.0})
    reasons = ("lost", "lost", "other")
    trials = [
        ReportedTrial(settings=values, failure=reason)
        for values, reason in zip(settings, reasons, strict=True)
    ]
    (table, _) = failures_section.section([studies.model("one", trials=trials, chosen=None)]).blocks
    assert isinstance(table, Table)
    assert [row[1:3] for row in table.rows] == [
        ("trial 1: C 1; trial 2: C 2", "lost"),
        ("trial 3: C 4", "other"),
    ]


def test_a_failure_without_trials_is_that_of_the_model() -> None:
    failed = studies.failed("one", "lost").model_copy(update={"trials": []})
    (table, _) = failures_section.section([failed]).blocks
    assert isinstance(table, Table)
    assert table.rows[0][:3] == ("one", "the model", "lost")


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("Task was killed due to the node running low on memory.", "Run fewer trials at once"),
        ("weights/nowhere.h5: No such file or directory", "Put the file at this path"),
        ("the loss is NaN", "Lower the learning rate"),
        ("something else", "Correct what the reason names."),
    ],
)
def test_a_reason_has_a_remedy(reason: str, remedy: str) -> None:
    assert failures_section.remedy(reason).startswith(remedy)
