"""`pintag optimize`: what it says, what it makes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pintag import bundle
from tests.pintag.cli.conftest import Cli

LENIENT = ("max_drop=0.2", "min_agreement=0.8")


def test_a_missing_bundle_is_named(cli: Cli, sample_dir: Path, tmp_path: Path) -> None:
    done = cli("optimize", tmp_path / "none", "--data", sample_dir)
    assert (done.code, done.out) == (1, "")
    assert f"error: {tmp_path}/none: no bundle here" in done.err


def test_an_unknown_key_is_named(cli: Cli, tmp_path: Path) -> None:
    done = cli("optimize", tmp_path, "max_dorp=0.1")
    assert done.code == 1
    assert "max_dorp" in done.err


@pytest.mark.keras
@pytest.mark.ray
def test_it_says_how_each_model_does(
    cli: Cli, quick_dir: Path, sample_dir: Path, tmp_path: Path
) -> None:
    """Of a bundle that has models already: they are made anew, and are the same."""
    place = Path(shutil.copytree(quick_dir, tmp_path / "model"))
    before = bundle.load(place).manifest
    done = cli("optimize", place, "--data", sample_dir, "--json", *LENIENT)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["bundle"] == str(place)
    assert told["version"] == before.version
    assert told["openvino"]["int8"] == before.openvino["int8"].model_dump()
    for words in ("converting", "quantising", "writing the bundle"):
        assert f"{words} …" in done.err


@pytest.mark.keras
@pytest.mark.ray
def test_int8_that_is_refused_is_told_with_its_reason(
    cli: Cli, quick_dir: Path, sample_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(shutil.copytree(quick_dir, tmp_path / "model"))
    monkeypatch.setattr("pintag.optimize._Judge.refusal", lambda *_: "it is no good")
    done = cli("optimize", place, "--data", sample_dir)
    assert done.code == 0, done.err
    reason = "post-training quantisation: it is no good; watching the accuracy: it is no good"
    assert f"int8 is not in the bundle: {reason}" in done.out
    assert f"bundle {place}, version " in done.out
    assert bundle.load(place).choose() == ("openvino", "fp32")
