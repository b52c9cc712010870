"""`pintag serve`: what is wrong with a request is said before a server starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pintag.cli.conftest import Cli


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """Where no bundle is: none of these tests comes as far as to need one."""
    return tmp_path / "[no] bundle"


def test_a_missing_bundle_is_named(cli: Cli, nothing: Path) -> None:
    done = cli("serve", "--bundle", nothing)
    assert (done.code, done.out) == (1, "")
    assert f"error: {nothing}: no bundle here: bundle.json is missing" in done.err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("http.prot=1", "unknown key 'http.prot'; did you mean 'http.port'?"),
        ("http.port=70000", "'http.port'"),
        ("http.port=http", "'http.port'"),
        ("classifier.max_ongoing_requests=1", "batches never fill"),
        ("classifier.autoscaling.min_replicas=9", "min_replicas is above max_replicas"),
        ("metrics", "is not of the form key=value"),
    ],
)
def test_a_wrong_key_or_value_is_named(cli: Cli, nothing: Path, override: str, said: str) -> None:
    done = cli("serve", "--bundle", nothing, override)
    assert (done.code, done.out) == (1, "")
    assert said in done.err


def test_a_missing_configuration_is_named(cli: Cli, nothing: Path, tmp_path: Path) -> None:
    done = cli("serve", "--bundle", nothing, "--config", tmp_path / "none.yaml")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path / 'none.yaml'}: cannot be read")


def test_the_port_goes_before_the_configurations(cli: Cli, nothing: Path, tmp_path: Path) -> None:
    (tmp_path / "serve.yaml").write_text("http: {port: 70000}")
    arguments = ("serve", "--bundle", nothing, "--config", tmp_path / "serve.yaml")
    assert "'http.port'" in cli(*arguments).err
    assert "no bundle here" in cli(*arguments, "--port", "8123").err
