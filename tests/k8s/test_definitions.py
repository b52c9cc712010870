"""The chart looks at KubeRay's definitions in the cluster: an API server that knows only those."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts import chart
from tests.k8s.rendering import helm

pytestmark = helm

GROUP = "apiextensions.k8s.io"
VERSION = {"groupVersion": f"{GROUP}/v1", "version": "v1"}
KIND = {
    "name": "customresourcedefinitions",
    "kind": "CustomResourceDefinition",
    "namespaced": False,
}
ANSWERS: dict[str, Any] = {
    "/api": {"kind": "APIVersions", "versions": []},
    "/apis": {
        "kind": "APIGroupList",
        "groups": [{"name": GROUP, "versions": [VERSION], "preferredVersion": VERSION}],
    },
    f"/apis/{GROUP}/v1": {
        "kind": "APIResourceList",
        "groupVersion": f"{GROUP}/v1",
        "resources": [{**KIND, "verbs": ["get"]}],
    },
}
RAYSERVICES = f"/apis/{GROUP}/v1/customresourcedefinitions/rayservices.ray.io"
Install = Callable[[dict[str, Any] | None], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Installs the chart, up to what needs more of a cluster, where KubeRay has some fields."""
    answers = dict(ANSWERS)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = answers.get(self.path.partition("?")[0])
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content or {**status, "reason": "NotFound"}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [
        chart.HELM, "template", "pintag", chart.CHART, "--dry-run=server",
        f"--values={chart.CHART / 'examples/kind.yaml'}",
        f"--kube-version={chart.KUBE_VERSION}",
        f"--kube-apiserver=http://127.0.0.1:{server.server_port}",
    ]  # fmt: skip
    environment = os.environ | {"KUBECONFIG": os.devnull, "HOME": str(tmp_path)}

    def run(fields: dict[str, Any] | None) -> subprocess.CompletedProcess[str]:
        if fields is not None:
            definition = {"apiVersion": f"{GROUP}/v1", "kind": KIND["kind"]}
            answers[RAYSERVICES] = {**definition, "spec": {"rayClusterConfig": fields}}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    yield run
    server.shutdown()
    server.server_close()


def test_definitions_before_the_token_are_refused(install: Install) -> None:
    """Without authOptions, everybody who reaches Ray could run code."""
    done = install({"gcsFaultToleranceOptions": {}})
    assert done.returncode == 1
    assert "definitions of a KubeRay before 1.5.1" in done.stderr


@pytest.mark.parametrize("fields", [{"authOptions": {}}, None], ids=["new", "none"])
def test_others_are_not(install: Install, fields: dict[str, Any] | None) -> None:
    done = install(fields)
    assert (done.returncode, "kind: RayService" in done.stdout) == (0, True), done.stderr
