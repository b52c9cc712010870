"""What is checked before a server starts: its keys, its address, and what counts requests."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from pintag.core.errors import ServerError
from pintag.serve.auth import access
from pintag.serve.config import AccessConfig, HttpConfig, RateLimitConfig, ServeConfig
from pintag.serve.lifecycle import served_bundle, server
from pintag.serve.lifecycle.applications import Applications
from pintag.serve.nodes import capacity
from tests.conftest import free_port


@pytest.fixture
def settings(tmp_path: Path) -> ServeConfig:
    """Settings with a file of keys, and a Redis that does not run."""
    (tmp_path / "keys.yaml").write_text("keys: []")
    limits = RateLimitConfig(redis=f"redis://:secret@127.0.0.1:{free_port()}/0")
    return ServeConfig(access=AccessConfig(keys=tmp_path / "keys.yaml", rate_limits=limits))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_no_key(host: str) -> None:
    access.check(ServeConfig(http=HttpConfig(host=host)))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_other_machines_need_keys_or_a_permission(host: str) -> None:
    http = HttpConfig(host=host)
    with pytest.raises(ServerError, match=r"set access\.keys=FILE"):
        access.check(ServeConfig(http=http))
    access.check(ServeConfig(http=http, access=AccessConfig(allow_anonymous=True)))


def test_without_redis_in_the_settings_none_is_asked() -> None:
    assert access.silent_redis(ServeConfig()) == ""


def test_a_server_starts_without_its_redis_and_reports_it_without_the_password(
    settings: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []

    def deployed(*_: object) -> None:
        printed.append("deployed")
        raise KeyboardInterrupt

    monkeypatch.setattr(served_bundle, "checked", lambda *_: None)
    monkeypatch.setattr(server, "_set_variables", lambda _: None)
    monkeypatch.setattr(server, "_connected", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(capacity, "warn", lambda *_: None)
    monkeypatch.setattr(Applications, "deploy", deployed)
    with pytest.raises(KeyboardInterrupt):
        server.run(settings, "bundle", lambda *_: None, printed.append)
    warning, last = printed
    start = "access.rate_limits.redis does not answer, so requests with limited keys get status 503"
    assert warning.startswith(start)
    assert "secret" not in warning
    assert last == "deployed"
