"""A candidate under load: what it answers, how it compares, and that its end costs nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from pintag import bundle
from serve.server import has_haproxy
from tests.conftest import Server, descendants, serving, wait_for
from tests.faults.conftest import watched
from tests.serve.conftest import counts

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

RATE = 40


@pytest.fixture
def candidate(quick_dir: Path, tmp_path: Path) -> Path:
    """The same network under another name: it agrees with itself."""
    made = Path(shutil.copytree(quick_dir, tmp_path / "candidate"))
    manifest = json.loads((made / bundle.MANIFEST).read_text())
    (made / bundle.MANIFEST).write_text(json.dumps({**manifest, "version": "candidate"}))
    return made


def versions(server: Server, bodies: Sequence[bytes]) -> list[str]:
    """Who answers each picture."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        answers = [client.post("/v1/tags", content=body) for body in bodies]
    return [answer.json()["model"]["version"] for answer in answers]


def test_a_candidate_answers_and_is_compared_and_its_end_costs_no_request(
    quick_dir: Path, candidate: Path, tmp_path: Path, sample_dir: Path
) -> None:
    bodies = [path.read_bytes() for path in (sample_dir / "test").rglob("*.jpg")]
    served = bundle.load(quick_dir).manifest.version
    settings = (
        f"candidate.bundle={candidate}", "candidate.shadow=0.5", "candidate.canary=0.5",
        "classifier.cache_bytes=0", "explainer.enabled=false",
    )  # fmt: skip
    with serving(quick_dir, tmp_path / "log", *settings) as server:

        def told(name: str, label: str) -> dict[str, float]:
            return counts(server, f"ray_pintag_candidate_{name}", label, "classifier")

        def ups() -> list[float]:
            return sorted(told("up", "replica").values())

        def healthy() -> set[str]:
            found = counts(server, "ray_serve_deployment_replica_healthy", "replica", "candidate")
            return {replica for replica, is_healthy in found.items() if is_healthy}

        def on_trial() -> Any:
            return httpx.get(f"{server.url}/v1/model", timeout=30).json()["candidate"]

        with watched(f"{server.url}/v1/tags", bodies, RATE) as watch:
            wait_for(lambda: "on trial: sample candidate" in server.log.read_text(), 90, "a trial")
            wait_for(lambda: ups() == [1, 1], 30, "the candidate")
            # Equal bytes, equal fate.
            found = versions(server, bodies)
            assert set(found) == {served, "candidate"}
            assert versions(server, bodies) == found
            assert on_trial() == {
                "name": "sample", "version": "candidate", "shadow": 0.5, "canary": 0.5
            }  # fmt: skip

            wait_for(lambda: told("images_total", "outcome").get("agreed", 0) > RATE, 60, "shadows")
            wait_for(lambda: told("images_total", "outcome")["answered"] > RATE, 60, "canaries")
            assert "differed" not in told("images_total", "outcome")
            differences = told("difference_bucket", "le")
            assert differences["0.001"] == differences["+Inf"] > 0
            assert sum(told("seconds_count", "replica").values()) > 2 * RATE

            (candidate / bundle.WEIGHTS).write_bytes(b"damaged")
            (victim,) = descendants(server.process, "ServeReplica:candidate:")
            first = healthy()
            victim.kill()
            wait_for(lambda: ups() == [0, 0], 60, "the news")
            # A new replica starts, and is ill.
            wait_for(lambda: healthy() not in (first, set()), 90, "another one")
            asked = len(watch.fates)
            wait_for(lambda: len(watch.fates) > asked + 4 * RATE, 60, "more requests")
            assert ups() == [0, 0]
            assert set(versions(server, bodies)) == {served}
            assert on_trial() is None
        assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()
        print(watch.told(), told("images_total", "outcome"))
