"""Errors as responses: which of them are logged."""

from __future__ import annotations

import logging
import re

import pytest

from pintag.core.errors import NotAnImageError
from pintag.serve.api import error_handlers, schemas
from pintag.serve.errors import OverloadedError
from pintag.serve.observability.logs import log
from tests.conftest import ROOT

GUIDE = (ROOT / "docs/how-to/find-a-failing-request.md").read_text()


class NoCounter:
    def count_error(self, kind: str) -> None:
        """Count nothing."""


@pytest.mark.parametrize(
    ("error", "status", "level", "message"),
    [
        (RuntimeError("a bug"), 500, logging.ERROR, "request failed"),
        (TimeoutError("not done within 10 s"), 504, logging.WARNING, "request failed: not done"),
        (OverloadedError("too many images"), 503, None, ""),
        (NotAnImageError("not an image"), 400, None, ""),
    ],
)
def test_faults_of_the_server_and_late_answers_are_logged(
    error: Exception,
    status: int,
    level: int | None,
    message: str,
    logged: list[logging.LogRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A server that ran in this process may have raised it.
    monkeypatch.setattr(log, "isEnabledFor", lambda _: True)
    assert error_handlers.error_response(error, NoCounter()).status_code == status
    assert [record.levelno for record in logged] == ([level] if level else [])
    assert all(record.getMessage().startswith(message) for record in logged)


def errors() -> list[BaseException]:
    """One of each kind, and one that nobody expects."""
    kinds = [kind for kind in schemas._KINDS if issubclass(kind, Exception)]
    return [*(kind("words") for kind in kinds), RuntimeError("a bug")]


@pytest.mark.parametrize("error", errors(), ids=lambda error: type(error).__name__)
def test_the_guide_says_whether_an_error_is_logged(
    error: Exception, logged: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "isEnabledFor", lambda _: True)
    problem = schemas.problem(error)
    error_handlers.error_response(error, NoCounter())
    rows = dict(re.findall(r"^ +\| (\d.*?) \| (.*) \|$", GUIDE, re.MULTILINE))
    named = [
        cell for cell in rows if re.search(rf"\b{problem.status} \([^)]*`{problem.kind}`", cell)
    ]
    assert named or problem.status < 500
    expected = rows[named[0] if named else "4xx"]
    assert expected.startswith("the line `request failed`" if logged else "no line")
