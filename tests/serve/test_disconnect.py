"""What a server leaves on a cluster: nothing of its own, and everything of others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pintag.serve import server


@pytest.mark.parametrize(
    ("is_shared", "others", "ends"),
    [(False, {}, True), (False, {"other": "RUNNING"}, False), (True, {}, False)],
)
def test_ray_serve_ends_with_the_server_unless_others_use_it(
    is_shared: bool, others: dict[str, str], ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setattr("ray.serve.delete", calls.append)
    monkeypatch.setattr("ray.serve.status", lambda: SimpleNamespace(applications=others))
    monkeypatch.setattr("ray.serve.shutdown", lambda: calls.append("Ray Serve"))
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.shutdown", lambda: calls.append("the connection"))
    server._disconnect(is_shared)
    ended = ["candidate", "explainer", "classifier"]
    assert calls == [*ended, *(["Ray Serve"] if ends else []), "the connection"]
