"""A wheel installs one package, `pintag`, so that it collides with no other module."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = ("pyproject.toml", "README.md", "pintag", "serve", "train", "bulk")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files in a wheel that is built from a copy of the tree, as `pip wheel` builds it."""
    tree = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tree / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, tree / name)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, "dist"], cwd=tree, check=True, capture_output=True)
    (wheel,) = (tree / "dist").glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_a_wheel_has_one_package_at_its_top(names: list[str]) -> None:
    top = {Path(name).parts[0] for name in names}
    assert {folder for folder in top if not folder.endswith(".dist-info")} == {"pintag"}


@pytest.mark.parametrize(
    "name",
    ["serve/app.py", "train/fit/loop.py", "bulk/job.py", "serve/old_import_paths/serve/app.py"],
)
def test_a_wheel_has_the_folders_beside_the_package(names: list[str], name: str) -> None:
    assert f"pintag/{name}" in names
