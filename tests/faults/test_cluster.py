"""A server on a cluster, started as docs/how-to/ray-cluster.md describes, beside a local one.

The home has a token that another program left there, which `ray start` obeys.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from pintag.models import bundle
from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.nodes import ports
from tests.conftest import HAPROXY, PINTAG, free_port, serving, wait_for
from tests.faults.conftest import ONE_REPLICA, watched
from tests.raylets import Node

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

ADDRESS = "127.0.0.1"
SMALL = ("explainer.enabled=false", *ONE_REPLICA)


@dataclass(frozen=True)
class Cluster:
    """One node, and what its users need to know."""

    node: Node
    environment: dict[str, str]
    """The variables of a user's shell on the node."""
    metrics_port: int

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of pintag on the node."""
        return subprocess.run(
            [PINTAG, *map(str, arguments)],
            env=self.environment, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """The variables of a shell: no token, and other ports than those of other servers here."""
    with tempfile.TemporaryDirectory(prefix="pintag-", ignore_cleanup_errors=True) as folder:
        token = Path(folder) / ".ray" / "auth_token"
        token.parent.mkdir()
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        folders = {"HOME": folder, "RAY_TMPDIR": folder, "XDG_CACHE_HOME": f"{folder}/cache"}
        yield kept | folders | {name: str(free_port()) for name in ports.DEFAULTS}


@pytest.fixture(scope="module")
def cluster(bundle_dir: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    recipe = f'eval "$("{PINTAG}" serve --bundle "{bundle_dir}" --environment http.drain_s=0)"'
    metrics = free_port()
    node = Node(
        environment,
        "--head", f"--port={free_port()}", "--num-cpus=2", "--include-dashboard=false",
        "--object-store-memory=100000000", f"--metrics-export-port={metrics}",
        within=("sh", "-c", f'{recipe} && exec "$@"', "sh"),
    )  # fmt: skip
    with contextlib.closing(contextlib.ExitStack()) as ending:
        ending.callback(node.kill)
        yield Cluster(node, environment | {"RAY_ADDRESS": "auto"}, metrics)


def test_doctor_checks_the_node(cluster: Cluster) -> None:
    done = cluster.run("doctor", f"http.port={free_port()}")
    lines = done.stdout.splitlines()
    assert "ok    Ray's address: auto, with a token" in lines
    names = re.findall(r"^ok    [\d.]+ ([^:]+): ", done.stdout, re.MULTILINE)
    assert names[:6] == [
        "engines", "HAProxy", "processors", "memory", "shared memory", "open files",
    ]  # fmt: skip
    assert "ok    ports: free on each node, or Ray Serve has them" in lines


def test_a_port_that_is_taken_on_the_node_is_refused_with_the_node_and_the_remedy(
    cluster: Cluster, bundle_dir: Path
) -> None:
    name = "RAY_SERVE_HAPROXY_STATS_PORT"
    taken = int(cluster.environment[name])
    with socket.create_server(("", taken)):
        refused = cluster.run("serve", "--bundle", bundle_dir, "--port", str(free_port()))
        doctor = cluster.run("doctor", f"http.port={free_port()}")
    # Ray gives the node another address than the loopback one.
    words = (
        rf"port {taken} of node [\d.]+ cannot be used: Address already in use; choose another "
        f"by {name}, set before `ray start` everywhere"
    )
    assert refused.returncode == doctor.returncode == 1
    assert re.fullmatch(f"starting …\nerror: {words}\n", refused.stderr), refused.stderr
    assert re.search(f"^FAIL  ports: one cannot be used; {words}$", doctor.stdout, re.MULTILINE)


def test_a_server_on_the_cluster_answers_and_never_from_the_local_one_beside_it(
    cluster: Cluster, bundle_dir: Path, quick_dir: Path, body: bytes, tmp_path: Path
) -> None:
    versions = [bundle.load(folder).manifest.version for folder in (bundle_dir, quick_dir)]
    log = tmp_path / "cluster"
    # The ports of the cluster's HAProxy are those of its node, not of the shell.
    shell = {name: str(free_port()) for name in ports.DEFAULTS}
    home = {name: cluster.environment[name] for name in ("HOME", "RAY_TMPDIR", "RAY_ADDRESS")}
    with serving(quick_dir, tmp_path / "local", *SMALL) as local:
        with serving(bundle_dir, log, *SMALL, **home, **shell) as server:
            for running, version in zip((server, local), versions, strict=True):
                answers = [httpx.post(f"{running.url}/v1/tags", content=body) for _ in range(20)]
                assert {answer.json()["model"]["version"] for answer in answers} == {version}
            printed = dict(re.findall(r"^(metrics|HAProxy) +(\S+)$", log.read_text(), re.MULTILINE))
            haproxy = cluster.environment[ports.HAPROXY_METRICS]
            assert printed == {
                "metrics": f"http://{ADDRESS}:{cluster.metrics_port}/metrics",
                "HAProxy": f"http://{ADDRESS}:{haproxy}/metrics",
            }
            assert "haproxy_process_uptime" in httpx.get(printed["HAProxy"]).text
            with watched(f"{server.url}/v1/tags", [body], 20) as watch:
                (replica,) = cluster.node.processes("ServeReplica:classifier:")
                replica.kill()
                watch.wait_for_answers(1)
            assert httpx.get(f"{server.url}/v1/model").json()["version"] == versions[0]
        assert log.read_text().endswith("stopped\n")
        # Nothing of Ray Serve is left, which would keep the port, and the node from draining.
        assert cluster.node.runs("gcs_server")
        wait_for(lambda: not cluster.node.runs("ray::Serve", "ray::Proxy", HAPROXY), 30, "its end")
        answer = httpx.post(f"{local.url}/v1/tags", content=body)
        assert answer.json()["model"]["version"] == versions[1]


def test_a_head_whose_server_has_ended_drains(cluster: Cluster) -> None:
    """The last test of the cluster: it ends the node."""
    assert "Local node finished draining; shutting down." in cluster.node.terminate()
