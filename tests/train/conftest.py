"""Fixtures for all tests of training: one small study."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.commands import run_here
from tests.conftest import once
from tests.train.small_study import CONFIG, FinishedStudy


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of the small study."""
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.fixture(scope="session")
def data(sample_dir: Path, run_dir: Path) -> Path:
    """The sample data set, with one training image copied to the test split."""

    def copy(root: Path) -> None:
        shutil.copytree(sample_dir, root)
        leaking = min((root / "train" / "art").iterdir())
        shutil.copy(leaking, root / "test" / "art" / "leaked.jpg")

    return once(run_dir / "leaking", copy)


@pytest.fixture(scope="session")
def finished(config: Path, data: Path, run_dir: Path, ray_cluster: None) -> FinishedStudy:
    """The small study, run without interruption."""
    printed = run_dir / "studies" / "stdout"

    def run(out: Path) -> None:
        done = run_here("study", config, "--data", data, "--out", out)
        assert done.returncode == 0, done.stderr
        printed.write_text(done.stdout)

    out = once(run_dir / "studies" / "whole", run)
    return FinishedStudy(out, printed.read_text())
