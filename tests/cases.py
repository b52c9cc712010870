"""Hostile inputs that a generator outside the repository writes, with their manifest."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT, once


class Case(NamedTuple):
    """A row of the manifest."""

    name: str
    file: Path
    statuses: tuple[int, ...]
    """The HTTP statuses that are right."""
    mean_rgb: tuple[float, ...]
    """The mean colour of the right pixels; empty if it is not known."""
    remark: str


@pytest.fixture(scope="session")
def cases_dir(run_dir: Path) -> Path:
    """The folder of all inputs; skipped without their generator."""
    folder = Path(os.environ.get("PINTAG_TEST_CASES", ROOT.parent / "shared" / "cases"))
    script = folder / "make_cases.py"
    if not script.is_file():
        pytest.skip(f"no make_cases.py in {folder}; PINTAG_TEST_CASES names another folder")

    def make(out: Path) -> None:
        subprocess.run([sys.executable, script, out], check=True, capture_output=True)

    return once(run_dir / "cases", make)


def manifest(cases_dir: Path, kind: str) -> list[Case]:
    """The rows of one kind: `images`, `http` or `explain`. They name every file of its folder."""
    with (cases_dir / "manifest.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    cases = [
        Case(
            row["case"],
            cases_dir / row["file"],
            tuple(map(int, row["statuses"].split("|"))),
            tuple(map(float, filter(None, row["mean_rgb"].split(",")))),
            row["remark"],
        )
        for row in rows
        if row["file"].startswith(f"{kind}/")
    ]
    listed = {case.file for case in cases}
    assert listed == set((cases_dir / kind).iterdir()) - {cases_dir / "http" / "requests.json"}
    return cases
