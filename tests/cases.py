"""Hostile inputs that a generator outside the repository writes."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

from tests.conftest import ROOT, once


@pytest.fixture(scope="session")
def offline_cases(run_dir: Path) -> Path:
    """The folders `data`, `bulk` and `explain` of hostile inputs; skipped without their generator.

    The generator's other inputs are for a server.
    """
    folder = Path(os.environ.get("PINTAG_TEST_CASES", ROOT.parent / "shared" / "cases"))
    if not (folder / "make_cases.py").is_file():
        pytest.skip(f"no make_cases.py in {folder}; PINTAG_TEST_CASES names another folder")

    def make(out: Path) -> None:
        generator = runpy.run_path(str(folder / "make_cases.py"))
        for name, function in (("data", "data_sets"), ("bulk", "bulk"), ("explain", "explained")):
            (out / name).mkdir(parents=True)
            generator[function](out / name)

    return once(run_dir / "cases", make)
