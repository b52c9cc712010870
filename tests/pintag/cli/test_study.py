"""`pintag study`: early errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import CONFIGS
from tests.pintag.cli.conftest import Cli, run_and_print_slow_imports

OFFLINE = CONFIGS / "study" / "offline.yaml"


@pytest.mark.parametrize(
    ("file", "options", "reason"),
    [
        ("other.txt", (), "exists and is not a study; choose another --out"),
        ("request.json", (), "holds a study; give --resume to continue it, or --overwrite"),
        ("other.txt", ("--resume",), "exists and is not a study; choose another --out"),
    ],
)
def test_the_folder_is_checked_before_the_images_are_read(
    cli: Cli, tmp_path: Path, file: str, options: tuple[str, ...], reason: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / file).touch()
    done = cli("study", OFFLINE, "--data", tmp_path / "none", "--out", out, *options)
    assert (done.code, done.out) == (1, "")
    assert reason in done.err
    assert [path.name for path in out.iterdir()] == [file]


def test_mistakes_are_reported_before_slow_imports(tmp_path: Path) -> None:
    # A missing data set is the last of them.
    done = run_and_print_slow_imports(
        "study", OFFLINE, "--data", tmp_path / "none", "--out", tmp_path / "out"
    )
    assert (done.returncode, done.stdout) == (1, "\n"), done.stderr
