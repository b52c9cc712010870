"""What a server leaves on a cluster: nothing of its own, and everything of others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pintag.serve.config import ServeConfig
from pintag.serve.lifecycle import shutdown

RUNNING = {"status": "RUNNING", "deployments": {"other": {}}}
STARTING = {"status": "DEPLOYING", "deployments": {}}
ENDING = {"status": "DELETING", "deployments": {"other": {}}}
# Ray Serve may list such an application for minutes.
ENDED = {"status": "DELETING", "deployments": {}}


@pytest.mark.parametrize(
    ("is_shared", "listed", "ends"),
    [
        (False, {}, True),
        (False, {"classifier": ENDED, "explainer": ENDED}, True),
        (False, {"other": RUNNING}, False),
        (False, {"classifier": ENDED, "other": STARTING}, False),
        (False, {"other": ENDING}, False),
        (True, {}, False),
    ],
)
def test_ray_serve_ends_with_the_server_unless_others_use_it(
    is_shared: bool,
    listed: dict[str, dict[str, object]],
    ends: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[object] = []
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setattr(shutdown, "_end_applications", calls.append)
    client = SimpleNamespace(get_serve_details=lambda: {"applications": listed})
    monkeypatch.setattr("ray.serve.context._get_global_client", lambda: client)
    monkeypatch.setattr("ray.serve.shutdown", lambda: calls.append("Ray Serve"))
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.shutdown", lambda: calls.append("the connection"))
    shutdown.disconnect(ServeConfig(), pytest.fail, is_shared=is_shared)
    # The time of the explainer's replica, and `http.drain_s`.
    assert calls == [26.0, *(["Ray Serve"] if ends else []), "the connection"]


def test_ray_ends_also_if_its_applications_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def fail(limit_s: float) -> None:
        raise TimeoutError(f"classifier did not stop in {limit_s:g} s")

    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setattr(shutdown, "_end_applications", fail)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.shutdown", lambda: calls.append("the connection"))
    shutdown.disconnect(ServeConfig(), calls.append)
    assert calls == [
        "requests in flight may have got no answer: classifier did not stop in 26 s",
        "the connection",
    ]
