"""An error of another library in one line."""

from __future__ import annotations

import pytest

from pintag.core import errors


@pytest.mark.parametrize(
    ("message", "line"),
    [("one", "one"), ("\n  one \ntwo", "one"), ("", "ValueError"), (" \n ", "ValueError")],
)
def test_the_first_line_is_the_first_with_text(message: str, line: str) -> None:
    assert errors.first_line(ValueError(message)) == line


@pytest.mark.parametrize(("message", "text"), [("one\ntwo", "ValueError: one"), ("", "ValueError")])
def test_a_summary_begins_with_the_class(message: str, text: str) -> None:
    assert errors.summary(ValueError(message)) == text


def test_a_summary_is_short() -> None:
    assert len(errors.summary(ValueError(1000 * "a"))) == len("ValueError: ") + 300
