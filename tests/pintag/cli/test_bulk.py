"""`pintag bulk`: what it refuses before anything starts; jobs are tested in tests/bulk."""

from __future__ import annotations

from pathlib import Path

from tests.pintag.cli.conftest import Cli


def test_a_missing_bundle_is_named(cli: Cli, tmp_path: Path) -> None:
    done = cli("bulk", tmp_path, "--bundle", tmp_path / "none", "--out", tmp_path / "out")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path}/none: no bundle here")


def test_an_output_is_asked_for(cli: Cli, tmp_path: Path) -> None:
    done = cli("bulk", tmp_path, "--bundle", tmp_path)
    assert done.code == 2
    assert "Missing option '--out'" in done.err
