"""One small study for all tests that ask about a study."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.train.small_study import CONFIG, Done, study


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of the small study."""
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.fixture(scope="session")
def data(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, with a training picture that is tested on as well."""
    root = tmp_path_factory.mktemp("leaking") / "data"
    shutil.copytree(sample_dir, root)
    leaking = min((root / "train" / "art").iterdir())
    shutil.copy(leaking, root / "test" / "art" / "leaked.jpg")
    return root


@pytest.fixture(scope="session")
def done(config: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The small study, whole."""
    out = tmp_path_factory.mktemp("studies") / "whole"
    found = study(config, data, out)
    assert found.returncode == 0, found.stderr
    return Done(out, found.stdout)
