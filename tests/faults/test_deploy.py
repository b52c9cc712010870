"""A configuration that KubeRay or `serve deploy` applies to a running server, good or bad."""

from __future__ import annotations

import contextlib
import copy
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.nodes import ports
from tests.conftest import PINTAG, free_port, haproxy_config, wait_for
from tests.faults.conftest import ONE_REPLICA, watched
from tests.raylets import Node, cluster_environment

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

ORIGIN = "https://shop.example"


class Deployment:
    """The Serve configuration of a node, which is changed as KubeRay does it."""

    def __init__(self, config: dict[str, Any], node: Node, token: str, dashboard: int) -> None:
        self.config, self.node = config, node
        self.url = f"http://127.0.0.1:{config['http_options']['port']}"
        self._dashboard = f"http://127.0.0.1:{dashboard}/api/serve/applications/"
        self._headers = {"Authorization": f"Bearer {token}"}

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the classifier."""
        found: dict[str, Any] = self.config["applications"][0]["args"]
        return found

    def deploy(self) -> None:
        answer = httpx.put(self._dashboard, json=self.config, headers=self._headers, timeout=60)
        answer.raise_for_status()

    def status(self) -> str:
        """Of the classifier, such as RUNNING."""
        answer = httpx.get(self._dashboard, headers=self._headers, timeout=60).raise_for_status()
        found: str = answer.json()["applications"]["classifier"]["status"]
        return found


@pytest.fixture
def deployment(bundle_dir: Path) -> Iterator[Deployment]:
    serve = (str(PINTAG), "serve", "--bundle", str(bundle_dir), "explainer.enabled=false")
    recipe = f'eval "$({shlex.join([*serve, "--environment"])})" && exec "$@"'
    port, dashboard = free_port(), free_port()
    with cluster_environment() as variables, contextlib.ExitStack() as ending:
        # Other servers of this machine keep theirs.
        environment = variables | {name: str(free_port()) for name in ports.DEFAULTS}
        node = Node(
            environment,
            "--head", f"--port={free_port()}", "--num-cpus=2", f"--dashboard-port={dashboard}",
            "--object-store-memory=100000000", f"--metrics-export-port={free_port()}",
            within=("sh", "-c", recipe, "sh"),
        )  # fmt: skip
        ending.callback(node.kill)
        options = ("--serve-config", "--port", str(port), *ONE_REPLICA)
        printed = subprocess.run([*serve, *options], capture_output=True, text=True, check=True)
        config = yaml.safe_load(printed.stdout)
        yield Deployment(config, node, environment["RAY_AUTH_TOKEN"], dashboard)


def test_uploads_reach_the_replicas_while_a_changed_configuration_is_built_and_if_that_fails(
    deployment: Deployment, body: bytes
) -> None:
    deployment.deploy()
    wait_for(lambda: deployment.status() == "RUNNING", 120, "the server")
    wait_for(lambda: is_healthy(deployment), 30, "HAProxy")
    good = copy.deepcopy(deployment.arguments)
    with watched(f"{deployment.url}/v1/tags", [body], 20) as watch:
        deployment.arguments["no_such_key"] = 1
        deployment.deploy()
        wait_for(lambda: deployment.status() == "DEPLOY_FAILED", 120, "the failure")
        watch.wait_for_answers(2)
        assert is_healthy(deployment)
        assert "server SERVE_REPLICA" in haproxy_config(deployment.node.process)
        deployment.config["applications"][0]["args"] = good
        deployment.arguments["http"]["cors_origins"] = [ORIGIN]
        deployment.deploy()
        wait_for(lambda: allows(deployment), 120, "the changed setting")
        assert is_healthy(deployment)
    print(watch.summary())
    assert watch.failed() == []


def is_healthy(deployment: Deployment) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{deployment.url}/-/healthz").status_code == 200
    return False


def allows(deployment: Deployment) -> bool:
    answer = httpx.get(f"{deployment.url}/v1/model", headers={"Origin": ORIGIN})
    return answer.headers.get("access-control-allow-origin") == ORIGIN
