"""The file of keys in a running server: when it is read again, and what is kept."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from logging.handlers import BufferingHandler
from pathlib import Path

import pytest

from pintag.core.errors import ConfigError
from pintag.serve.auth import api_keys, key_file
from pintag.serve.auth.key_file import ApiKeyFile
from tests.serve.auth.conftest import Clock
from tests.serve.auth.test_api_keys import MINE, YOURS, entry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    path.write_text(api_keys.dump([entry("mine", MINE, per_day=5)]))
    return path


@pytest.fixture
def errors() -> Iterator[list[logging.LogRecord]]:
    """The errors in the log. caplog has none: Ray Serve's logger does not propagate."""
    handler = BufferingHandler(100)
    handler.setLevel(logging.ERROR)
    key_file.log.addHandler(handler)
    yield handler.buffer
    key_file.log.removeHandler(handler)


def test_a_key_finds_its_holder(path: Path) -> None:
    client = ApiKeyFile(path, Clock(7.0)).find(MINE)
    assert client is not None
    assert (client.name, client.limits.per_day, client.since) == ("mine", 5, 7.0)


def test_only_a_whole_key_finds_its_holder(path: Path) -> None:
    file = ApiKeyFile(path)
    for wrong in ("", MINE[:-1], MINE + "x", api_keys.digest(MINE), "ä"):
        assert file.find(wrong) is None


def test_a_changed_file_is_read_again(path: Path) -> None:
    file = ApiKeyFile(path)
    path.write_text(api_keys.dump([entry("yours", YOURS)]))
    file.reload_if_changed()
    assert file.find(MINE) is None
    assert file.find(YOURS)


def test_a_list_without_keys_revokes_all(path: Path) -> None:
    file = ApiKeyFile(path)
    path.write_text("keys: []")
    file.reload_if_changed()
    assert file.find(MINE) is None


@pytest.mark.parametrize(
    "content", ["", "\n", "keys:", "keys: [", "keys: [{name: mine}]", "missing", "cut off"]
)
def test_the_last_good_keys_stay_valid_and_the_log_has_one_error(
    path: Path, content: str, errors: list[logging.LogRecord]
) -> None:
    file = ApiKeyFile(path)
    good = path.read_text()
    if content == "missing":
        path.unlink()
    else:
        path.write_text(good[: len(good) // 2] if content == "cut off" else content)
    for _ in range(3):
        file.reload_if_changed()
    assert file.find(MINE)
    (error,) = errors
    assert error.getMessage().startswith(
        f"the API keys were not reloaded, the previous ones stay valid: {path}: "
    )
    assert MINE not in error.getMessage()
    path.write_text(api_keys.dump([entry("yours", YOURS)]))
    file.reload_if_changed()
    assert file.find(YOURS)


def test_a_file_that_cannot_be_read_for_a_moment_is_read_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, errors: list[logging.LogRecord]
) -> None:
    file = ApiKeyFile(path)
    path.write_text(api_keys.dump([entry("yours", YOURS)]))

    def fail(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        file.reload_if_changed()
    assert file.find(MINE)
    assert "cannot be read: Input/output error" in errors[0].getMessage()
    file.reload_if_changed()
    assert file.find(YOURS)


def test_a_server_does_not_start_with_an_empty_file(path: Path) -> None:
    path.write_text("")
    with pytest.raises(ConfigError, match="the file is empty or cut off"):
        ApiKeyFile(path)


def test_the_file_is_read_in_a_thread_that_ends_with_the_object(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_file, "_CHECK_INTERVAL_S", 0.01)
    # A record of pytest would keep the object alive.
    monkeypatch.setattr(key_file.log, "exception", lambda _: None)
    readers: list[str] = []
    changed = threading.Event()

    class Watched(ApiKeyFile):
        def reload_if_changed(self) -> None:
            readers.append(threading.current_thread().name)
            changed.set()
            raise RuntimeError("a fault must not end the thread")

    file = Watched(path)
    file.watch()
    assert changed.wait(30)
    changed.clear()
    assert changed.wait(30)
    assert set(readers) == {"pintag-keys"}
    (thread,) = (each for each in threading.enumerate() if each.name == "pintag-keys")
    del file
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
