"""A registry that a cluster follows: `serve deploy` gets what `pintag serve --follow` prints."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from pintag.core.store import last_name
from pintag.models.manifest import WEIGHTS
from pintag.models.registry import CURRENT, Registry
from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.nodes import ports
from tests.conftest import PINTAG, free_port, wait_for
from tests.faults.conftest import ONE_REPLICA, watched
from tests.raylets import RAY, Node, cluster_environment

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

RATE = 20


@dataclass(frozen=True)
class Cluster:
    """One node that follows a registry."""

    node: Node
    environment: dict[str, str]
    models: Path
    """The folder of the registry."""
    url: str
    configuration: Path

    @property
    def registry(self) -> Registry:
        return Registry(self.models)

    def deploy(self, *overrides: str) -> None:
        """Send Ray Serve the configuration, as KubeRay's operator does."""
        self.configuration.write_text(self._configuration(*overrides))
        self._run(RAY.with_name("serve"), "deploy", self.configuration)

    def _configuration(self, *overrides: str) -> str:
        _, _, port = self.url.rpartition(":")
        settings = (
            f"http.port={port}", "http.drain_s=0", "explainer.enabled=false", "engine=tensorflow",
            *ONE_REPLICA,
        )  # fmt: skip
        options = ("--serve-config", "--follow", "--bundle", self.models)
        return self._run(PINTAG, "serve", *options, *settings, *overrides)

    def _run(self, *command: object) -> str:
        done = subprocess.run(
            [*map(str, command)], env=self.environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def version(self) -> str:
        """The version that answers; empty: none does."""
        try:
            answer = httpx.get(f"{self.url}/v1/model", timeout=10)
            return str(answer.json()["version"]) if answer.status_code == 200 else ""
        except httpx.HTTPError:
            return ""

    def replica(self, application: str = "classifier") -> psutil.Process:
        """The process of the application's only replica."""
        (process,) = self.node.processes(f"ServeReplica:{application}:")
        return process


@pytest.fixture(scope="module")
def cluster(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("followed")
    Registry(folder / "models").add(str(bundle_dir))
    dashboard = free_port()
    with cluster_environment() as environment, contextlib.ExitStack() as ending:
        environment |= {name: str(free_port()) for name in ports.DEFAULTS}
        environment |= {
            "RAY_ADDRESS": "auto",
            "RAY_DASHBOARD_ADDRESS": f"http://127.0.0.1:{dashboard}",
        }
        recipe = f'eval "$("{PINTAG}" serve --bundle "{bundle_dir}" --environment http.drain_s=0)"'
        node = Node(
            {name: value for name, value in environment.items() if name != "RAY_ADDRESS"},
            "--head", f"--port={free_port()}", "--num-cpus=2", f"--dashboard-port={dashboard}",
            "--object-store-memory=100000000", f"--metrics-export-port={free_port()}",
            within=("sh", "-c", f'{recipe} && exec "$@"', "sh"),
        )  # fmt: skip
        ending.callback(node.kill)
        url = f"http://127.0.0.1:{free_port()}"
        followed = Cluster(node, environment, folder / "models", url, folder / "serve.yaml")
        followed.deploy()
        wait_for(followed.version, 120, "the first version")
        yield followed


def test_a_version_is_rolled_out_under_load(cluster: Cluster, quick_dir: Path, body: bytes) -> None:
    first = cluster.version()
    with watched(f"{cluster.url}/v1/tags", [body], RATE) as watch:
        cluster.registry.use(last_name(cluster.registry.add(str(quick_dir))))
        wait_for(lambda: cluster.version() not in ("", first), 120, "the roll-out")
        watch.wait_for_answers(1)
    assert watch.failed() == [], watch.summary()


def test_a_new_follower_changes_nothing(cluster: Cluster) -> None:
    before, old = cluster.replica().pid, cluster.replica("follower")
    old.kill()

    def is_back() -> bool:
        found = cluster.node.processes("ServeReplica:follower:")
        return bool(found) and found[0].pid != old.pid

    wait_for(is_back, 60, "a new follower")
    cluster.deploy()
    served = cluster.version()
    # It follows: a version that cannot be served is refused, and noted in the registry.
    damaged = cluster.models / "damaged"
    shutil.copytree(cluster.registry.find(served), damaged)
    (damaged / WEIGHTS).write_bytes(b"damaged")
    (cluster.models / CURRENT).write_text(damaged.name)
    wait_for(cluster.registry.refusal, 60, "the refusal")
    assert cluster.version() == served
    assert cluster.replica().pid == before


def test_new_settings_keep_the_version(cluster: Cluster) -> None:
    cluster.registry.use(last_name(cluster.registry.find(cluster.version())))
    served, before = cluster.version(), cluster.replica().pid
    cluster.deploy("classifier.cache_bytes=0")
    wait_for(lambda: before not in _pids(cluster), 120, "a replica with the new settings")
    wait_for(cluster.version, 60, "an answer")
    assert cluster.version() == served


def _pids(cluster: Cluster) -> list[int]:
    return [process.pid for process in cluster.node.processes("ServeReplica:classifier:")]
