"""`pintag optimize`: output, results, and errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pintag.cli import console
from pintag.models import bundle
from tests.pintag.cli.conftest import Cli

LENIENT = ("max_drop=0.2", "min_agreement=0.8")


def test_a_missing_bundle_is_reported(cli: Cli, sample_dir: Path, tmp_path: Path) -> None:
    done = cli("optimize", tmp_path / "none", "--data", sample_dir)
    assert (done.code, done.out) == (1, "")
    assert f"error: {tmp_path}/none: no bundle here" in done.err


def test_an_unknown_key_is_reported(cli: Cli, tmp_path: Path) -> None:
    done = cli("optimize", tmp_path, "max_dorp=0.1")
    assert done.code == 1
    assert "max_dorp" in done.err


@pytest.mark.keras
@pytest.mark.ray
def test_the_scores_of_each_model_are_printed(
    cli: Cli, quick_dir: Path, sample_dir: Path, tmp_path: Path
) -> None:
    """The bundle has models already; they are replaced by equal ones."""
    path = Path(shutil.copytree(quick_dir, tmp_path / "model"))
    before = bundle.load(path).manifest
    done = cli("optimize", path, "--data", sample_dir, "--json", *LENIENT)
    assert done.code == 0, done.err
    output = json.loads(done.out)
    assert output["bundle"] == str(path)
    assert output["version"] == before.version
    assert output["openvino"]["int8"] == before.openvino["int8"].model_dump()
    for words in ("converting to OpenVINO", "quantising to int8", "writing the bundle"):
        assert f"{words} …" in done.err


@pytest.mark.keras
@pytest.mark.ray
def test_the_reason_for_refusing_int8_is_printed(
    cli: Cli, quick_dir: Path, sample_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copytree(quick_dir, tmp_path / "model"))
    monkeypatch.setattr(
        "pintag.models.optimize._AccuracyGuard.refusal", lambda *_: "it loses too much"
    )
    monkeypatch.setattr(console.out, "_width", 200)
    done = cli("optimize", path, "--data", sample_dir)
    assert done.code == 0, done.err
    assert "int8 (rejected)" in done.out
    assert "fp32 (rejected)" not in done.out
    # Each attempt in a line.
    assert (
        "int8 is not in the bundle:\n  post-training quantisation: it loses too much\n"
        "  with accuracy control: it loses too much\n"
    ) in done.out
    assert "same first label as the original network" in done.out
    assert f"bundle {path}, version " in done.out
    assert bundle.load(path).choose() == ("openvino", "fp32")
