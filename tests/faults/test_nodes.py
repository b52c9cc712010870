"""Nodes of a cluster lost under load: what clients of another node see of it.

Three real nodes of Ray on this machine, each in a network of its own: a head that serves nothing,
and keeps what it knows in a real Redis, and two workers with a replica each.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from serve.server import has_haproxy
from tests import network
from tests.conftest import (
    PINTAG,
    ROOT,
    WATCH,
    free_port,
    haproxy_config,
    launched,
    lives,
    wait_for,
)
from tests.faults.conftest import Watch, watched
from tests.network import Place
from tests.raylets import RAY, Node, secluded

UNABLE = network.unable()
pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
    pytest.mark.skipif(bool(UNABLE), reason=UNABLE),
    pytest.mark.skipif(
        not shutil.which("redis-server"), reason="no redis-server here (Debian's package)"
    ),
]

RATE = 20
# A head has a machine of its own: on this one it goes behind those that serve.
BEHIND = ("nice", "-n", "15")
SETTINGS = (
    "http.host=0.0.0.0", "http.drain_seconds=0", "access.everybody=true",
    "classifier.cache_bytes=0", "classifier.autoscaling.max_replicas=2",
    # One on each worker.
    "classifier.resources={classifier: 1}",
    "explainer.enabled=false",
)  # fmt: skip
PASSWORD = "secret"


class Cluster:
    """A head and workers, which come and go."""

    def __init__(self, environment: dict[str, str], redis: str, places: list[Place]) -> None:
        self.environment = environment
        self.head, *self.workers = places
        self._redis = redis
        self._nodes: dict[Place, Node] = {}

    def start(self, place: Place) -> None:
        """As an orchestrator does in the place of a node that is gone."""
        environment, options = self.environment, ["--object-store-memory=100000000"]
        within = place.within
        if place == self.head:
            within = [*BEHIND, *within]
            environment = environment | {"RAY_REDIS_ADDRESS": self._redis}
            options += [
                "--head", "--port=6379", "--num-cpus=0", f"--redis-password={PASSWORD}",
                "--dashboard-host=0.0.0.0",
            ]  # fmt: skip
        else:
            options += [f"--address={self.head.address}:6379", '--resources={"classifier": 1}']
        self._nodes[place] = Node(environment, *options, address=place.address, within=within)

    def kill(self, place: Place) -> None:
        self._nodes.pop(place).kill()

    def processes(self, place: Place, words: str) -> list[psutil.Process]:
        return self._nodes[place].processes(words) if place in self._nodes else []

    def replicas(self, place: Place) -> list[psutil.Process]:
        return self.processes(place, "ServeReplica:classifier:")

    def serves(self, place: Place, body: bytes) -> bool:
        """Whether it has a replica, and answers."""
        try:
            answer = httpx.post(url(place), content=body, timeout=5)
        except httpx.TransportError:
            return False
        return len(self.replicas(place)) == 1 and answer.status_code == 200

    def known(self, place: Place) -> int:
        """How many replicas its HAProxy has."""
        return haproxy_config(self._nodes[place].process).count("\n    server SERVE_REPLICA_")

    def close(self) -> None:
        for place in list(self._nodes):
            self.kill(place)


def url(place: Place) -> str:
    return f"http://{place.address}:8000/v1/tags"


@pytest.fixture(scope="module")
def cluster(quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Deployed as docs/operations.md says, and answering."""
    place, port = tmp_path_factory.mktemp("nodes"), free_port()
    told = printed(quick_dir, "--environment")
    variables = dict(word.split("=", 1) for word in shlex.split(told) if "=" in word)
    config = place / "serve.yaml"
    config.write_text(printed(quick_dir, "--serve-config"))
    redis = ["redis-server", "--port", port, "--requirepass", PASSWORD, "--save", ""]
    with (
        secluded() as environment,
        network.network(3) as places,
        launched([*redis, "--bind", network.HERE], place / "redis.log"),
    ):
        made = Cluster(
            environment | variables | {"PYTHONPATH": str(ROOT)}, f"{network.HERE}:{port}", places
        )
        with contextlib.closing(made):
            for each in places:
                made.start(each)
            address = f"http://{made.head.address}:8265"
            deploy = [RAY.with_name("serve"), "deploy", config, "--address", address]
            subprocess.run(deploy, env=made.environment, check=True, capture_output=True)
            yield made


def printed(bundle: Path, what: str) -> str:
    command = [PINTAG, "serve", "--bundle", bundle, what, *SETTINGS]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def workers(cluster: Cluster, body: bytes) -> list[Place]:
    """Both of them, each with a replica."""
    wait_for(lambda: all(cluster.serves(each, body) for each in cluster.workers), 180, "both")
    return cluster.workers


def told(name: str, watch: Watch, when: float) -> None:
    print(f"\n{name}: {watch.told()}, whole again after {watch.now() - when:.0f} s")
    assert watch.fates.statuses() == {200: len(watch.fates)}


def test_a_worker_that_dies_costs_no_request(
    cluster: Cluster, workers: list[Place], body: bytes
) -> None:
    lost, other = workers
    with watched(url(other), [body], RATE) as watch:
        watch.sees(1)
        when = watch.now()
        cluster.kill(lost)
        watch.sees(1)
        cluster.start(lost)
        wait_for(lambda: cluster.serves(lost, body), 180, "its successor")
        watch.sees(1)
    told("a worker killed", watch, when)


def test_a_worker_that_is_cut_off_costs_no_request_and_ends(
    cluster: Cluster, workers: list[Place], body: bytes
) -> None:
    """Nobody says that it is gone; and what is left of it does not go on by itself."""
    lost, other = workers
    (haproxy,) = cluster.processes(lost, WATCH)
    with watched(url(other), [body], RATE) as watch:
        watch.sees(1)
        when = watch.now()
        lost.cut()
        wait_for(lambda: cluster.known(other) == 1, 120, "HAProxy without its replica")
        watch.sees(1)
        lost.mend()
        wait_for(lambda: not cluster.processes(lost, "raylet/raylet"), 90, "its end")
        wait_for(lambda: not lives(haproxy), 10, "the end of its HAProxy")
        cluster.kill(lost)
        cluster.start(lost)
        wait_for(lambda: cluster.serves(lost, body), 180, "its successor")
        watch.sees(1)
    told("a worker cut off", watch, when)


def test_without_the_head_workers_answer_and_with_a_new_one_all_is_as_before(
    cluster: Cluster, workers: list[Place], body: bytes
) -> None:
    """What the head knew is in Redis: it takes care of replicas again."""
    one, other = workers
    (replica,) = cluster.replicas(one)
    with watched(url(other), [body], RATE) as watch:
        watch.sees(1)
        when = watch.now()
        cluster.kill(cluster.head)
        watch.sees(5)
        cluster.start(cluster.head)
        replica.kill()
        wait_for(lambda: not lives(replica), 10, "its end")
        wait_for(lambda: cluster.serves(one, body), 180, "a new replica")
        watch.sees(1)
    told("the head killed", watch, when)
