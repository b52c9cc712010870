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
from tests.conftest import S3, Server, serving, wait_for
from tests.faults.conftest import replicas, watched

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


def renamed(made: Path, place: Path, version: str) -> Path:
    """The same bundle as another version."""
    shutil.copytree(made, place)
    manifest = json.loads((place / bundle.MANIFEST).read_text())
    (place / bundle.MANIFEST).write_text(json.dumps({**manifest, "version": version}))
    return place


def version(server: Server) -> str:
    """That answers."""
    found: str = httpx.get(f"{server.url}/v1/model", timeout=30).json()["version"]
    return found


def told(server: Server, words: str) -> bool:
    """Whether the server has said so, in however many lines."""
    return words in " ".join(server.log.read_text().split())


@pytest.fixture
def folder(quick_dir: Path, tmp_path: Path) -> Path:
    """A registry of two good versions, a sick and a damaged one."""
    made = tmp_path / "models"
    Registry(str(made)).add(str(quick_dir))
    renamed(quick_dir, made / "second", "second")
    subprocess.run([sys.executable, "-c", SICKEN, quick_dir, made / "sick"], check=True)
    shutil.copytree(quick_dir, made / "damaged")
    (made / "damaged" / bundle.WEIGHTS).write_bytes(b"damaged")
    return made


def test_versions_roll_under_load_and_no_request_fails(
    folder: Path, tmp_path: Path, body: bytes
) -> None:
    models = Registry(str(folder))
    first = last_name(models.current())
    settings = ("--follow", "classifier.cache_bytes=0", "http.drain_seconds=1")
    with serving(folder, tmp_path / "log", *settings) as server:
        known = version(server)
        with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
            models.use("second")
            wait_for(lambda: told(server, "second serves"), 120, "the roll-out")
            assert version(server) == "second"
            # `Registry.use` refuses it, as it should.
            (folder / CURRENT).write_text("damaged")
            wait_for(lambda: told(server, "damaged is refused, second goes on"), 60, "the refusal")
            models.use("sick")
            wait_for(
                lambda: told(server, "sick does not start, back to second"), 180, "the way back"
            )
            assert version(server) == "second"
            models.use(first)
            wait_for(lambda: told(server, f"{first} serves"), 120, "the roll-back")
            assert version(server) == known
        assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()
        assert len(watch.fates) > 20 * RATE
        print(watch.told())


def test_a_bucket_is_followed_and_a_replica_that_lost_its_copy_fetches_another(
    s3: S3, quick_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    place, cache = s3.uri(f"{s3.bucket()}/models/pins"), tmp_path / "cache"
    models = Registry(place)
    models.add(str(quick_dir))
    models.add(str(renamed(quick_dir, tmp_path / "second", "second")))
    one = [f"classifier.autoscaling.{name}_replicas=1" for name in ("min", "max")]
    settings = ("--follow", "explainer.enabled=false", *one)
    with serving(place, tmp_path / "log", *settings, XDG_CACHE_HOME=str(cache)) as server:
        assert version(server) == bundle.load(quick_dir).manifest.version
        models.use("second")
        wait_for(lambda: told(server, "second serves"), 120, "the roll-out")
        assert version(server) == "second"
        shutil.rmtree(cache)
        for each in replicas(server):
            each.kill()
        copies = cache / "pintag/bundles"
        wait_for(lambda: list(copies.glob("second-*/bundle.json")), 120, "another copy")
        wait_for(
            lambda: httpx.get(f"{server.url}/v1/model", timeout=30).status_code == 200,
            60,
            "another replica",
        )
        assert version(server) == "second"
