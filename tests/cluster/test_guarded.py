"""A server with keys, in a namespace with quotas and user IDs of its own; who reaches what."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import Installation, wait_for
from tests.conftest import PINTAG

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

OPTIONS = (
    # As OpenShift chooses them: no entry in passwd, and group 0.
    *(f"--set={each}podSecurityContext.runAsUser=70000" for each in ("", "redis.")),
    *(f"--set={each}podSecurityContext.runAsGroup=0" for each in ("", "redis.")),
    *kubernetes.CPU_LIMITS,
    "--set=keys.secretName=keys,settings.access.keys=/etc/pintag/keys.yaml",
    "--set=settings.access.allow_anonymous=false",
)
# Uploads a picture with a key, and prints the status.
UPLOAD = """
import io, sys, urllib.error, urllib.request
from PIL import Image

picture = io.BytesIO()
Image.effect_mandelbrot((320, 240), (-3, -2.5, 2, 2.5), 100).save(picture, "JPEG")
headers = {"Authorization": f"Bearer {sys.argv[2]}"} if sys.argv[2:] else {}
request = urllib.request.Request(sys.argv[1], picture.getvalue(), headers)
try:
    print(urllib.request.urlopen(request, timeout=120).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
# Prints which of some addresses accept a connection.
REACHED = """
import socket, sys
for address in sys.argv[1:]:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        print(address)
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.yaml"


def new_key(keys: Path) -> str:
    """Write a key into the file, in place of the client's old one, and return it."""
    command = [PINTAG, "key", "uploads", "--file", keys, "--per-second", "500"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def secret(keys: Path) -> str:
    """The manifest of the Secret with the keys."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys"},
            "stringData": {"keys.yaml": keys.read_text()},
        }
    )


@pytest.fixture(scope="module")
def key(keys: Path) -> str:
    return new_key(keys)


@pytest.fixture(scope="module")
def server(cluster: None, keys: Path, key: str) -> Iterator[Installation]:
    with kubernetes.installation() as installed:
        installed.kubectl("create", "quota", "processors", "--hard=limits.cpu=16")
        installed.kubectl("apply", "--filename=-", stdin=secret(keys))
        limits = {"cpu": "1", "memory": "1Gi"}
        with installed.pod("client", ["sleep", "infinity"], {"HOME": "/tmp"}, limits=limits):
            installed.upgrade(*OPTIONS)
            installed.wait_until_ready()
            yield installed


def status(server: Installation, path: str, *key: str) -> str:
    return server.python("client", UPLOAD, server.url + path, *key).strip()


@pytest.mark.parametrize("path", ["/v1/tags", "/v1/explanations"])
def test_only_a_client_with_a_key_gets_an_answer(server: Installation, key: str, path: str) -> None:
    assert [status(server, path), status(server, path, "wrong"), status(server, path, key)] == [
        "401",
        "401",
        "200",
    ]


def test_nobody_else_reaches_the_pods(server: Installation) -> None:
    selector = "--selector=ray.io/node-type"
    pods = {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each["status"]["podIP"]
        for each in server.get("pods", "", selector)["items"]
    }
    open_to_all = [f"{pods['classifier']}:8000", f"{pods['explainer']}:8000"]
    closed = [f"{pods['head']}:{port}" for port in (8265, 6379, 8080, 8000, 10001)]
    closed += [f"{pods['classifier']}:{port}" for port in (8080, 9101, 30000, 52365)]
    closed += [f"{server.name}-redis:6379"]
    reached = server.python("client", REACHED, *open_to_all, *closed).split()
    assert reached == open_to_all


def test_pods_connect_only_to_what_they_need(server: Installation) -> None:
    client = server.get("pod", "client")["status"]["podIP"]
    listen = "import socket, time; s = socket.create_server(('', 9999)); time.sleep(600)"
    server.run("client", "sh", "-c", f'python -c "{listen}" >/dev/null 2>&1 & sleep 2')
    (pod,) = server.pods(kubernetes.CLASSIFIERS)
    needed = [f"{server.name}-redis:6379", "kubernetes.default:443"]
    reached = server.python(pod, REACHED, *needed, f"{client}:9999").split()
    assert reached == needed


def test_a_new_key_counts_within_minutes_and_no_pod_restarts(
    server: Installation, keys: Path, key: str
) -> None:
    before = server.pods()
    new = new_key(keys)
    server.kubectl("apply", "--filename=-", stdin=secret(keys))
    began = time.monotonic()
    wait_for(lambda: status(server, "/v1/tags", new) == "200", 180, "the new key")
    wait_for(lambda: status(server, "/v1/tags", key) == "401", 60, "the end of the old key")
    print(f"the new key counted after {time.monotonic() - began:.0f} s")
    assert server.pods() == before
