"""`scripts/pictures.py` makes every picture of `docs/images/` from a server of the sample."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from scripts import pictures
from tests.conftest import ROOT, Server


@pytest.mark.browser
@pytest.mark.keras
@pytest.mark.ray
def test_all_pictures_are_made(
    server: Server, sample_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(map(shutil.which, pictures.BROWSERS)):
        pytest.skip("no browser is installed")
    monkeypatch.setattr(pictures, "IMAGES", tmp_path)
    drawn = min((sample_dir / "test" / "houses").iterdir())
    monkeypatch.setattr(pictures, "SHOWN", (f"houses/{drawn.name}",))
    monkeypatch.setattr(pictures, "EXPLAINED", f"houses/{drawn.name}")
    done = CliRunner().invoke(pictures.main, [str(sample_dir), "--url", server.url])
    assert done.exit_code == 0, done.output
    names = {path.name for path in (ROOT / "docs/images").iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == names
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            assert image.width >= 400
