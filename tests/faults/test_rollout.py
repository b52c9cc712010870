"""Versions of a model that come and go under load, and a bad one that never answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pintag import bundle
from pintag.registry import CURRENT, Registry
from pintag.store import last_name
from serve.server import has_haproxy
from tests.conftest import serving, wait_for
from tests.faults.conftest import watched

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

RATE = 40
# A network whose every weight is no number: its files are what the manifest says.
SICKEN = """
import sys
from pathlib import Path
import numpy as np
from pintag import bundle

loaded = bundle.load(Path(sys.argv[1]))
network = loaded.network()
network.set_weights([np.full_like(each, np.nan) for each in network.get_weights()])
manifest = loaded.manifest
bundle.save(
    Path(sys.argv[2]), network, spec=manifest.network, labels=loaded.labels,
    temperature=manifest.temperature, metrics={}, training={}, data={},
)
"""


@pytest.fixture
def folder(quick_dir: Path, tmp_path: Path) -> Path:
    """A registry of two good versions, a sick and a damaged one."""
    made = tmp_path / "models"
    Registry(str(made)).add(str(quick_dir))
    shutil.copytree(quick_dir, made / "second")
    manifest = json.loads((made / "second" / bundle.MANIFEST).read_text())
    content = json.dumps({**manifest, "version": "second"})
    (made / "second" / bundle.MANIFEST).write_text(content)
    subprocess.run([sys.executable, "-c", SICKEN, quick_dir, made / "sick"], check=True)
    shutil.copytree(quick_dir, made / "damaged")
    (made / "damaged" / bundle.WEIGHTS).write_bytes(b"damaged")
    return made


def test_versions_roll_under_load_and_no_request_fails(
    folder: Path, tmp_path: Path, sample_dir: Path
) -> None:
    body = next((sample_dir / "test").rglob("*.jpg")).read_bytes()
    models = Registry(str(folder))
    first = last_name(models.current())
    settings = ("--follow", "classifier.cache_bytes=0", "http.drain_seconds=1")
    with serving(folder, tmp_path / "log", *settings) as server:

        def version() -> str:
            found: str = httpx.get(f"{server.url}/v1/model", timeout=30).json()["version"]
            return found

        def told(words: str) -> bool:
            return words in " ".join(server.log.read_text().split())

        known = version()
        with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
            models.use("second")
            wait_for(lambda: told("second serves"), 120, "the roll-out")
            assert version() == "second"
            # `Registry.use` refuses it, as it should.
            (folder / CURRENT).write_text("damaged")
            wait_for(lambda: told("damaged is refused, second goes on"), 60, "the refusal")
            models.use("sick")
            wait_for(lambda: told("sick does not start, back to second"), 180, "the way back")
            assert version() == "second"
            models.use(first)
            wait_for(lambda: told(f"{first} serves"), 120, "the roll-back")
            assert version() == known
        assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()
        assert len(watch.fates) > 20 * RATE
        print(watch.told())
