"""`pintag models`: versions are added, told and chosen, in a folder or in a bucket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pintag.store import inside
from tests.conftest import S3
from tests.pintag import bundles
from tests.pintag.cli.conftest import Cli


@pytest.fixture(params=["disk", "s3"])
def models(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a registry may be."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "disk":
        return str(tmp_path / "[models]")
    s3: S3 = request.getfixturevalue("s3")
    return s3.uri(f"{s3.bucket()}/models/pins")


def test_a_version_is_added_and_chosen_and_told(cli: Cli, models: str, tmp_path: Path) -> None:
    for version, options in (("one", []), ("two-more", []), ("third", ["--use"])):
        made = bundles.write(tmp_path / version, version)
        done = cli("models", "add", made, models, *options)
        assert (done.code, done.out) == (0, f"{inside(models, version)}\n")
    told = json.loads(cli("models", "list", models, "--json").out)
    assert [each["name"] for each in told if each["is_current"]] == ["third"]
    assert [each["name"] for each in told] == ["two-more", "third", "one"]
    assert cli("models", "use", "one", models).code == 0
    row = next(line for line in cli("models", "list", models).out.splitlines() if "serves" in line)
    assert all(word in row for word in ("one", "pins", "2026-01-03", "50.00%"))


def test_a_version_that_there_is_not_is_no_traceback(cli: Cli, models: str, tmp_path: Path) -> None:
    assert "no registry of models; `pintag models add`" in cli("models", "list", models).err
    cli("models", "add", bundles.write(tmp_path / "one", "one"), models)
    done = cli("models", "use", "two", models)
    assert (done.code, done.out) == (1, "")
    assert "no version 'two'; there are one" in done.err
