"""A candidate under load: it answers its share, is compared, and no request fails when it dies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from pintag.models import bundle
from pintag.models.manifest import MANIFEST, WEIGHTS
from pintag.serve.ingress.installation import has_haproxy
from tests.conftest import Server, descendants, serving, wait_for
from tests.faults.conftest import Watch, watched
from tests.serve.conftest import counts

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

RATE = 40
SETTINGS = (
    "candidate.shadow=0.5", "candidate.canary=0.5",
    "classifier.cache_bytes=0", "explainer.enabled=false",
)  # fmt: skip


@pytest.fixture
def candidate(quick_dir: Path, tmp_path: Path) -> Path:
    """The same network as another version: both versions give the same answers."""
    folder = Path(shutil.copytree(quick_dir, tmp_path / "candidate"))
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "version": "candidate"}))
    return folder


@dataclass(frozen=True)
class ObservedServer:
    """A server with a candidate, and what its metrics and its API report about the candidate."""

    server: Server

    def metric(self, name: str, label: str) -> dict[str, float]:
        """A metric of the candidate, summed for each value of a label."""
        return counts(self.server, f"ray_pintag_candidate_{name}", label, "classifier")

    def up(self) -> list[float]:
        """For each replica of the classifier: 1 if it sends images to the candidate, else 0."""
        return sorted(self.metric("up", "replica").values())

    def healthy_replicas(self) -> set[str]:
        """The candidate's replicas that Ray considers healthy."""
        name = "ray_serve_deployment_replica_healthy"
        states = counts(self.server, name, "replica", "candidate")
        return {replica for replica, is_healthy in states.items() if is_healthy}

    def candidate_info(self) -> Any:
        return httpx.get(f"{self.server.url}/v1/model", timeout=30).json()["candidate"]

    def versions(self, bodies: Sequence[bytes]) -> list[str]:
        """The model version that answers each image."""
        with httpx.Client(base_url=self.server.url, timeout=30) as client:
            answers = [client.post("/v1/tags", content=body) for body in bodies]
        return [answer.json()["model"]["version"] for answer in answers]


def check_routing(observed: ObservedServer, bodies: Sequence[bytes], served: str) -> None:
    """Both versions answer, and identical images are always treated alike."""
    versions = observed.versions(bodies)
    assert set(versions) == {served, "candidate"}
    assert observed.versions(bodies) == versions
    assert observed.candidate_info() == {
        "name": "sample", "version": "candidate", "shadow": 0.5, "canary": 0.5
    }  # fmt: skip


def check_metrics(observed: ObservedServer) -> None:
    """Shadows agree, canaries are answered, and each has its duration or its difference."""

    def images() -> dict[str, float]:
        return observed.metric("images_total", "outcome")

    wait_for(lambda: images().get("agreed", 0) > RATE, 60, "shadows")
    wait_for(lambda: images()["answered"] > RATE, 60, "canaries")
    counted = images()
    assert "differed" not in counted
    # Counters and histograms are published one after the other. In the end the histograms have
    # every image that a counter had before.
    total = counted["agreed"] + counted["answered"]
    wait_for(
        lambda: sum(observed.metric("seconds_count", "replica").values()) >= total, 60, "durations"
    )
    wait_for(
        lambda: observed.metric("difference_bucket", "le").get("+Inf", 0) >= counted["agreed"],
        60,
        "differences",
    )
    differences = observed.metric("difference_bucket", "le")
    assert differences["0.001"] == differences["+Inf"]


def kill_and_damage(observed: ObservedServer, candidate: Path) -> None:
    """Kill the candidate's replica, and wait until a new one fails to load the damaged bundle."""
    (candidate / WEIGHTS).write_bytes(b"damaged")
    (victim,) = descendants(observed.server.process, "ServeReplica:candidate:")
    before = observed.healthy_replicas()
    victim.kill()
    wait_for(lambda: observed.up() == [0, 0], 60, "the classifier to notice that it has died")
    wait_for(lambda: observed.healthy_replicas() not in (before, set()), 90, "a new replica")


def wait_for_requests(watch: Watch, count: int) -> None:
    before = len(watch.outcomes)
    wait_for(lambda: len(watch.outcomes) > before + count, 60, "more requests")


def test_a_candidate_answers_and_is_compared_and_its_death_loses_no_request(
    quick_dir: Path, candidate: Path, tmp_path: Path, sample_dir: Path
) -> None:
    bodies = [path.read_bytes() for path in (sample_dir / "test").rglob("*.jpg")]
    served = bundle.load(quick_dir).manifest.version
    settings = (f"candidate.bundle={candidate}", *SETTINGS)
    with serving(quick_dir, tmp_path / "log", *settings) as server:
        observed = ObservedServer(server)
        with watched(f"{server.url}/v1/tags", bodies, RATE) as watch:
            started = "the candidate is sample candidate"
            wait_for(lambda: started in server.log.read_text(), 90, "the candidate")
            wait_for(lambda: observed.up() == [1, 1], 30, "the candidate")
            check_routing(observed, bodies, served)
            check_metrics(observed)
            kill_and_damage(observed, candidate)
            wait_for_requests(watch, 4 * RATE)
            assert observed.up() == [0, 0]
            assert set(observed.versions(bodies)) == {served}
            assert observed.candidate_info() is None
        assert watch.outcomes.statuses() == {200: len(watch.outcomes)}, watch.summary()
        print(watch.summary(), observed.metric("images_total", "outcome"))
