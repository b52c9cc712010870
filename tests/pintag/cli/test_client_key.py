"""The API key of `pintag tag --url`: a missing and a wrong one, and one that no header can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pintag.cli.conftest import Canned, Cli, problem


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"picture")
    return path


def test_a_server_that_requires_a_key_is_reported_with_the_variable(
    cli: Cli, canned: Canned, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canned.answers = [problem(401, "Unauthorized", "send the header 'Authorization: Bearer KEY'")]
    monkeypatch.delenv("PINTAG_KEY", raising=False)
    done = cli("tag", picture, "--url", canned.url)
    assert done.code == 1
    assert done.err == (
        f"error: {canned.url}: the server requires an API key: set it in the environment variable "
        "PINTAG_KEY\n"
    )
    monkeypatch.setenv("PINTAG_KEY", "pintag_mistyped")
    done = cli("tag", picture, "--url", canned.url)
    assert "the API key in PINTAG_KEY is not valid" in done.err
    assert "mistyped" in done.err
    assert "pintag_mistyped" not in done.err


@pytest.mark.parametrize(
    "key", ["pintag\u2013secret", "pintag_s\u00fcss", "secret\nkey", "a secret"]
)
def test_a_key_that_no_header_can_have_is_reported_without_the_key(
    cli: Cli, canned: Canned, picture: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("PINTAG_KEY", key)
    done = cli("tag", picture, "--url", canned.url)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: the environment variable PINTAG_KEY is not an API key")
    assert key not in done.err
    assert "secret" not in done.err


def test_the_line_end_after_a_key_is_ignored(
    cli: Cli, canned: Canned, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canned.answers = [problem(401, "Unauthorized", "no")]
    monkeypatch.setenv("PINTAG_KEY", "pintag_secret\r\n")
    done = cli("tag", picture, "--url", canned.url)
    assert "the API key in PINTAG_KEY is not valid" in done.err
    assert "pintag_secret" not in done.err
