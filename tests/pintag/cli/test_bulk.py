"""`pintag bulk`: errors before a job starts; tests/bulk tests the jobs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pintag.bulk import job
from pintag.bulk.job import JobSummary
from pintag.cli import bulk
from pintag.models import remote
from tests.pintag.cli.conftest import Cli


def test_a_missing_bundle_is_reported(cli: Cli, tmp_path: Path) -> None:
    done = cli("bulk", tmp_path, "--bundle", tmp_path / "none", "--out", tmp_path / "out")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path}/none: no bundle here")


def test_an_output_folder_is_required(cli: Cli, tmp_path: Path) -> None:
    done = cli("bulk", tmp_path, "--bundle", tmp_path)
    assert done.code == 2
    assert "Missing option '--out'" in done.err


@pytest.mark.parametrize(
    ("summary", "output"),
    [
        (
            JobSummary(images=300, tagged=200, errors=1, parts=1, tagging_s=4.0),
            "tags: 300 images, 200 of them processed now in 10.0 s (50 per second without the "
            "start of Ray); 1 image without tags: see the column error\n",
        ),
        (
            JobSummary(images=300, tagged=0, errors=0, parts=1),
            "tags: 300 images, 0 of them processed now in 10.0 s; no errors\n",
        ),
    ],
)
def test_the_rate_leaves_out_the_start_of_ray(
    capfd: pytest.CaptureFixture[str], summary: JobSummary, output: str
) -> None:
    bulk._print("tags", summary, 10.0)
    assert capfd.readouterr().out == output


@pytest.mark.parametrize(("errors", "code"), [(0, 0), (2, 3)])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_exit_code_shows_that_some_images_have_an_error(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errors: int, code: int,
    options: tuple[str, ...],
) -> None:  # fmt: skip
    """The summary of a job that is complete already has the errors of the whole job, too."""
    summary = JobSummary(5, 0, errors, 1, left_out=(("hidden", 4),))
    bundle = SimpleNamespace(manifest=SimpleNamespace(version="1"))
    monkeypatch.setattr(remote, "load", lambda uri: bundle)
    monkeypatch.setattr(job, "run", lambda *arguments: summary)
    done = cli("bulk", tmp_path, "--bundle", tmp_path, "--out", tmp_path / "out", *options)
    assert done.code == code
    if options:
        result = json.loads(done.out)
        assert (result["errors"], result["left_out"]) == (errors, {"hidden": 4})
    else:
        assert "left out: 4 (hidden)\n" in done.err


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "1.5"])
def test_a_confidence_is_a_number_from_0_to_1(cli: Cli, tmp_path: Path, value: str) -> None:
    done = cli(
        "bulk", tmp_path, "--bundle", tmp_path, "--out", tmp_path / "out",
        f"--min-confidence={value}",
    )  # fmt: skip
    assert done.code == 2
    assert "Invalid value for '--min-confidence'" in done.err
