"""`pintag serve`: wrong arguments are reported before a server starts."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from pintag.serve.config import ServeConfig
from pintag.serve.lifecycle import server
from pintag.serve.nodes import addresses
from tests.pintag.cli.conftest import Cli


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """A path without a bundle; no test here loads a bundle."""
    return tmp_path / "[no] bundle"


def test_a_missing_bundle_is_reported(cli: Cli, nothing: Path) -> None:
    done = cli("serve", "--bundle", nothing)
    assert (done.code, done.out) == (1, "")
    assert f"error: {nothing}: no bundle here: there is no such folder" in done.err


@pytest.mark.parametrize(
    ("override", "output"),
    [
        ("http.prot=1", "unknown key 'http.prot'; did you mean 'http.port'?"),
        ("http.port=70000", "'http.port'"),
        ("http.port=http", "'http.port'"),
        ("classifier.max_ongoing_requests=1", "batches never fill"),
        ("classifier.autoscaling.min_replicas=9", "min_replicas is above max_replicas"),
        ("metrics", "is not of the form key=value"),
    ],
)
def test_a_wrong_key_or_value_is_reported(
    cli: Cli, nothing: Path, override: str, output: str
) -> None:
    done = cli("serve", "--bundle", nothing, override)
    assert (done.code, done.out) == (1, "")
    assert output in done.err


def test_a_missing_configuration_file_is_reported(cli: Cli, nothing: Path, tmp_path: Path) -> None:
    done = cli("serve", "--bundle", nothing, "--config", tmp_path / "none.yaml")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path / 'none.yaml'}: cannot be read")


def test_the_port_option_overrides_the_configuration(
    cli: Cli, nothing: Path, tmp_path: Path
) -> None:
    (tmp_path / "serve.yaml").write_text("http: {port: 70000}")
    arguments = ("serve", "--bundle", nothing, "--config", tmp_path / "serve.yaml")
    assert "'http.port'" in cli(*arguments).err
    assert "no bundle here" in cli(*arguments, "--port", "8123").err


def test_with_json_logs_the_console_prints_objects_too(cli: Cli, nothing: Path) -> None:
    done = cli("serve", "--bundle", nothing, "log.format=json", "access.allow_anonymous=true")
    assert (done.code, done.out) == (1, "")
    events = [json.loads(line) for line in done.err.splitlines()]
    assert [(event["levelname"], event["message"].split(":")[0]) for event in events] == [
        ("INFO", "starting"),
        ("INFO", "access.allow_anonymous is true"),
        ("ERROR", str(nothing)),
    ]
    assert all(datetime.fromisoformat(event["asctime"]).tzinfo for event in events)


def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the server: it says that it answers, and ends."""

    def run(
        config: ServeConfig, uri: str, ready: server.Ready, notify: server.Notify, **_: object
    ) -> None:
        ready(addresses.url(addresses.shown(config.http.host), config.http.port), Path("/logs"))

    monkeypatch.setattr(server, "run", run)


def test_the_links_of_a_server_on_every_address_can_be_opened(
    cli: Cli, nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(monkeypatch)
    done = cli("serve", "--bundle", nothing, "http.host=0.0.0.0", "http.port=8123")
    lines = done.out.splitlines()
    assert lines[0] == "page     http://localhost:8123/"
    assert "address  every address of this machine (http.host=0.0.0.0)" in lines
    assert lines[-2:] == ["logs     /logs", "Ctrl-C stops the server."]
    assert "0.0.0.0:" not in done.out


def test_objects_have_no_padding(cli: Cli, nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch)
    done = cli("serve", "--bundle", nothing, "log.format=json", "http.port=8123")
    messages = [json.loads(line)["message"] for line in done.err.splitlines()]
    assert messages[:2] == ["starting", "page: http://127.0.0.1:8123/"]
    assert messages[-2:] == ["Ctrl-C stops the server.", "stopped"]
