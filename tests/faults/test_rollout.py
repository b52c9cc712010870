"""Versions of a model are rolled out under load; a version that does not work never answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pintag.core.store import last_name
from pintag.models import bundle
from pintag.models.manifest import MANIFEST, WEIGHTS
from pintag.models.registry import CURRENT, Registry
from pintag.serve.ingress.installation import has_haproxy
from tests.conftest import Server, serving, wait_for
from tests.faults.conftest import replicas, watched
from tests.s3_servers import S3

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

RATE = 40
# Writes a bundle whose weights are all NaN; its files match the manifest.
WRITE_NAN_BUNDLE = """
import sys
from pathlib import Path
import numpy as np
from pintag.models import bundle, bundle_writer

loaded = bundle.load(Path(sys.argv[1]))
network = loaded.network()
network.set_weights([np.full_like(weights, np.nan) for weights in network.get_weights()])
manifest = loaded.manifest
bundle_writer.save(
    Path(sys.argv[2]), network, spec=manifest.network, labels=loaded.labels,
    temperature=manifest.temperature, metrics={}, training={}, data={},
)
"""


def renamed(source: Path, target: Path, version: str) -> Path:
    """Copy a bundle, with another version in its manifest."""
    shutil.copytree(source, target)
    manifest = json.loads((target / MANIFEST).read_text())
    (target / MANIFEST).write_text(json.dumps({**manifest, "version": version}))
    return target


def version(server: Server) -> str:
    """The version that the server serves."""
    result: str = httpx.get(f"{server.url}/v1/model", timeout=30).json()["version"]
    return result


def logged(server: Server, words: str) -> bool:
    """Whether the server's log contains these words; line breaks count as spaces."""
    return words in " ".join(server.log.read_text().split())


@pytest.fixture
def folder(quick_dir: Path, tmp_path: Path) -> Path:
    """A registry with two good versions, one whose weights are NaN, and a damaged one."""
    registry_dir = tmp_path / "models"
    Registry(str(registry_dir)).add(str(quick_dir))
    renamed(quick_dir, registry_dir / "second", "second")
    command = [sys.executable, "-c", WRITE_NAN_BUNDLE, quick_dir, registry_dir / "nan"]
    subprocess.run(command, check=True)
    shutil.copytree(quick_dir, registry_dir / "damaged")
    (registry_dir / "damaged" / WEIGHTS).write_bytes(b"damaged")
    return registry_dir


def test_versions_roll_under_load_and_no_request_fails(
    folder: Path, tmp_path: Path, body: bytes
) -> None:
    models = Registry(str(folder))
    first = last_name(models.current())
    settings = ("--follow", "classifier.cache_bytes=0", "http.drain_s=1")
    with serving(folder, tmp_path / "log", *settings) as server:
        first_version = version(server)
        with watched(f"{server.url}/v1/tags", [body], RATE) as watch:
            models.use("second")
            wait_for(lambda: logged(server, "second serves"), 120, "the roll-out")
            assert version(server) == "second"
            # Written by hand, as `Registry.use` refuses a damaged bundle.
            (folder / CURRENT).write_text("damaged")
            wait_for(
                lambda: logged(server, "damaged is refused, second keeps serving"),
                60,
                "the refusal",
            )
            models.use("nan")
            wait_for(
                lambda: logged(server, "nan does not start, back to second"), 180, "the roll-back"
            )
            assert version(server) == "second"
            models.use(first)
            wait_for(lambda: logged(server, f"{first} serves"), 120, "the roll-back")
            assert version(server) == first_version
        assert watch.outcomes.statuses() == {200: len(watch.outcomes)}, watch.summary()
        assert len(watch.outcomes) > 20 * RATE
        print(watch.summary())


def test_a_registry_in_a_bucket_is_followed_and_a_lost_copy_is_fetched_again(
    s3: S3, quick_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    uri, cache = s3.uri(f"{s3.bucket()}/models/pins"), tmp_path / "cache"
    models = Registry(uri)
    models.add(str(quick_dir))
    models.add(str(renamed(quick_dir, tmp_path / "second", "second")))
    one = [f"classifier.autoscaling.{name}_replicas=1" for name in ("min", "max")]
    settings = ("--follow", "explainer.enabled=false", *one)
    with serving(uri, tmp_path / "log", *settings, XDG_CACHE_HOME=str(cache)) as server:
        assert version(server) == bundle.load(quick_dir).manifest.version
        models.use("second")
        wait_for(lambda: logged(server, "second serves"), 120, "the roll-out")
        assert version(server) == "second"
        shutil.rmtree(cache)
        for replica in replicas(server):
            replica.kill()
        copies = cache / "pintag/bundles"
        wait_for(lambda: list(copies.glob("second-*/bundle.json")), 120, "another copy")
        wait_for(
            lambda: httpx.get(f"{server.url}/v1/model", timeout=30).status_code == 200,
            60,
            "another replica",
        )
        assert version(server) == "second"
