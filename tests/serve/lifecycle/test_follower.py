"""A follower that starts while the registry's store cannot be reached."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pintag.core.errors import DataError
from pintag.serve.config import ServeConfig
from pintag.serve.lifecycle import follower

pytestmark = pytest.mark.ray


def test_it_waits_until_the_store_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[object] = [DataError("s3://models: no answer")] * 2 + [print]
    pauses: list[float] = []

    def deploy(uri: str, config: ServeConfig) -> object:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(follower, "_deploy", deploy)
    texts: list[str] = []
    monkeypatch.setattr(
        "pintag.serve.lifecycle.follower.log.warning", lambda text, *args: texts.append(text % args)
    )
    found: Callable[[], None] = follower._start("s3://models", ServeConfig(), pauses.append)
    assert found is print
    assert pauses == [5.0, 5.0]
    assert texts == ["s3://models: no answer; trying again in 5 s"] * 2
