"""Errors as responses: which of them are logged."""

from __future__ import annotations

import logging

import pytest

from pintag.core.errors import NotAnImageError
from pintag.serve.api import error_handlers
from pintag.serve.errors import OverloadedError
from pintag.serve.observability.logs import log


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
