"""A node of a cluster is lost under load: what the clients of another node see.

The cluster has three real Ray nodes on this machine, each in its own network namespace: a head
without replicas, which keeps its state in a real Redis, and two workers with a replica each.
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

from pintag.serve.ingress.installation import has_haproxy
from tests import network
from tests.conftest import (
    PINTAG,
    ROOT,
    SUPERVISOR,
    free_port,
    haproxy_config,
    launched,
    lives,
    wait_for,
)
from tests.faults.conftest import Watch, watched
from tests.network import NetworkNamespace
from tests.raylets import RAY, Node, cluster_environment

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
    pytest.mark.skipif(
        not shutil.which("redis-server"), reason="redis-server is not installed (Debian's package)"
    ),
]

RATE = 20
# A real head has its own machine. Here it must not take processor time from the workers.
LOW_PRIORITY = ("nice", "-n", "15")
SETTINGS = (
    "http.host=0.0.0.0", "http.drain_s=0", "access.allow_anonymous=true",
    "classifier.cache_bytes=0", "classifier.autoscaling.max_replicas=2",
    # One replica on each worker.
    "classifier.resources={classifier: 1}",
    "explainer.enabled=false",
)  # fmt: skip
PASSWORD = "secret"


class Cluster:
    """A head and workers, which can be started and killed."""

    def __init__(
        self, environment: dict[str, str], redis: str, namespaces: list[NetworkNamespace]
    ) -> None:
        self.environment = environment
        self.head, *self.workers = namespaces
        self._redis = redis
        self._nodes: dict[NetworkNamespace, Node] = {}

    def start(self, namespace: NetworkNamespace) -> None:
        """Start a node, for the first time or again, as an orchestrator does."""
        environment, options = self.environment, ["--object-store-memory=100000000"]
        within = namespace.within
        if namespace == self.head:
            within = [*LOW_PRIORITY, *within]
            environment = environment | {"RAY_REDIS_ADDRESS": self._redis}
            options += [
                "--head", "--port=6379", "--num-cpus=0", f"--redis-password={PASSWORD}",
                "--dashboard-host=0.0.0.0",
            ]  # fmt: skip
        else:
            options += [f"--address={self.head.address}:6379", '--resources={"classifier": 1}']
        self._nodes[namespace] = Node(
            environment, *options, address=namespace.address, within=within
        )

    def kill(self, namespace: NetworkNamespace) -> None:
        self._nodes.pop(namespace).kill()

    def terminate(self, namespace: NetworkNamespace) -> str:
        """End a node by SIGTERM, and return what Ray prints."""
        return self._nodes[namespace].terminate()

    def processes(self, namespace: NetworkNamespace, words: str) -> list[psutil.Process]:
        return self._nodes[namespace].processes(words) if namespace in self._nodes else []

    def replicas(self, namespace: NetworkNamespace) -> list[psutil.Process]:
        return self.processes(namespace, "ServeReplica:classifier:")

    def serves(self, namespace: NetworkNamespace, body: bytes) -> bool:
        """Whether a node has one replica, and answers."""
        try:
            answer = httpx.post(url(namespace), content=body, timeout=5)
        except httpx.TransportError:
            return False
        return len(self.replicas(namespace)) == 1 and answer.status_code == 200

    def start_again(self, worker: NetworkNamespace, body: bytes) -> None:
        """End what is left of a worker, start it again, and wait until it answers."""
        if worker in self._nodes:
            self.kill(worker)
        self.start(worker)
        wait_for(lambda: self.serves(worker, body), 180, "a new worker")

    def replicas_in_haproxy(self, namespace: NetworkNamespace) -> int:
        """The number of replicas in the configuration of a node's HAProxy."""
        return haproxy_config(self._nodes[namespace].process).count("\n    server SERVE_REPLICA_")

    def close(self) -> None:
        for namespace in list(self._nodes):
            self.kill(namespace)


def url(namespace: NetworkNamespace) -> str:
    return f"http://{namespace.address}:8000/v1/tags"


@pytest.fixture(scope="module", autouse=True)
def _needs_a_network() -> None:
    """Skip the tests if no network of namespaces can be built here."""
    if reason := network.unable():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def cluster(quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the applications deployed, as docs/operations.md describes."""
    folder, port = tmp_path_factory.mktemp("nodes"), free_port()
    lines = printed(quick_dir, "--environment")
    variables = dict(word.split("=", 1) for word in shlex.split(lines) if "=" in word)
    config = folder / "serve.yaml"
    config.write_text(printed(quick_dir, "--serve-config"))
    redis = ["redis-server", "--port", port, "--requirepass", PASSWORD, "--save", ""]
    with (
        cluster_environment() as environment,
        network.network(3) as namespaces,
        launched([*redis, "--bind", network.HERE], folder / "redis.log"),
    ):
        cluster = Cluster(
            environment | variables | {"PYTHONPATH": str(ROOT)},
            f"{network.HERE}:{port}",
            namespaces,
        )
        with contextlib.closing(cluster):
            for namespace in namespaces:
                cluster.start(namespace)
            address = f"http://{cluster.head.address}:8265"
            deploy = [RAY.with_name("serve"), "deploy", config, "--address", address]
            subprocess.run(deploy, env=cluster.environment, check=True, capture_output=True)
            yield cluster


def printed(bundle: Path, what: str) -> str:
    command = [PINTAG, "serve", "--bundle", bundle, what, *SETTINGS]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def workers(cluster: Cluster, body: bytes) -> list[NetworkNamespace]:
    """Both workers, each with a replica."""
    wait_for(
        lambda: all(cluster.serves(worker, body) for worker in cluster.workers), 180, "both workers"
    )
    return cluster.workers


def report(name: str, watch: Watch, when: float) -> None:
    print(f"\n{name}: {watch.summary()}, all nodes work after {watch.now() - when:.0f} s")
    assert watch.outcomes.statuses() == {200: len(watch.outcomes)}


def test_a_worker_that_dies_loses_no_request(
    cluster: Cluster, workers: list[NetworkNamespace], body: bytes
) -> None:
    lost, other = workers
    with watched(url(other), [body], RATE) as watch:
        watch.wait_for_answers(1)
        when = watch.now()
        cluster.kill(lost)
        watch.wait_for_answers(1)
        cluster.start_again(lost, body)
        watch.wait_for_answers(1)
    report("a worker killed", watch, when)


def test_a_worker_that_gets_sigterm_under_load_loses_no_request_and_drains(
    cluster: Cluster, workers: list[NetworkNamespace], body: bytes
) -> None:
    lost, other = workers
    with watched(url(other), [body], RATE) as watch:
        watch.wait_for_answers(1)
        when = watch.now()
        assert "Local node finished draining; shutting down." in cluster.terminate(lost)
        watch.wait_for_answers(1)
        cluster.start_again(lost, body)
        watch.wait_for_answers(1)
    report("a worker ended by SIGTERM", watch, when)


def test_a_worker_that_is_cut_off_loses_no_request_and_ends(
    cluster: Cluster, workers: list[NetworkNamespace], body: bytes
) -> None:
    """Its connections are not closed, and its processes must end by themselves."""
    lost, other = workers
    (haproxy,) = cluster.processes(lost, SUPERVISOR)
    with watched(url(other), [body], RATE) as watch:
        watch.wait_for_answers(1)
        when = watch.now()
        lost.cut()
        wait_for(
            lambda: cluster.replicas_in_haproxy(other) == 1, 120, "HAProxy to remove its replica"
        )
        watch.wait_for_answers(1)
        lost.mend()
        wait_for(lambda: not cluster.processes(lost, "raylet/raylet"), 90, "the end of its raylet")
        wait_for(lambda: not lives(haproxy), 10, "the end of its HAProxy")
        cluster.start_again(lost, body)
        watch.wait_for_answers(1)
    report("a worker cut off", watch, when)


def test_workers_answer_without_the_head_and_a_new_head_takes_over(
    cluster: Cluster, workers: list[NetworkNamespace], body: bytes
) -> None:
    """The head's state is in Redis: the new head starts replicas again."""
    one, other = workers
    (replica,) = cluster.replicas(one)
    with watched(url(other), [body], RATE) as watch:
        watch.wait_for_answers(1)
        when = watch.now()
        cluster.kill(cluster.head)
        watch.wait_for_answers(5)
        cluster.start(cluster.head)
        replica.kill()
        wait_for(lambda: not lives(replica), 10, "the end of the replica")
        wait_for(lambda: cluster.serves(one, body), 180, "a new replica")
        watch.wait_for_answers(1)
    report("the head killed", watch, when)
