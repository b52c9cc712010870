"""The chart on a real cluster: installed, applied again, changed under load, and removed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import GONE_S, Installation, disposable, wait_for
from tests.conftest import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]


def test_helm_test_tags_a_picture(server: Installation) -> None:
    assert "Phase:          Succeeded" in server.helm("test", server.name, "--timeout=5m")


def test_a_second_installation_changes_nothing(server: Installation) -> None:
    before = server.pods()
    server.upgrade()
    manifest = server.helm("get", "manifest", server.name)
    server.kubectl("diff", "--filename=-", stdin=manifest)
    assert server.pods().items() >= before.items()


@disposable
@pytest.mark.parametrize("origins", ['["https://shop.example"]', "[]"], ids=["new", "back"])
def test_a_setting_is_rolled_out_under_load_and_no_request_fails(
    server: Installation, origins: str
) -> None:
    before = server.pods("--selector=ray.io/node-type")
    expected = 20 * (origins != "[]")
    refused: list[str] = []
    with server.pod("client", ["sleep", "infinity"]), server.load() as outcome:
        server.upgrade(f"--set-json=settings.http.cors_origins={origins}")
        wait_for(lambda: allowed(server, refused) == expected, kubernetes.READY_S, "the roll-out")
    assert (outcome["failed"], refused) == ([], [])
    assert server.pods("--selector=ray.io/node-type") == before


# Prints how many of 20 answers allow pages of a shop to read them, and the answers that failed.
ALLOWED = """
import json, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Origin": "https://shop.example"})
allowed, refused = 0, []
for _ in range(20):
    try:
        answer = urllib.request.urlopen(request, timeout=30)
        allowed += "Access-Control-Allow-Origin" in answer.headers
    except urllib.error.HTTPError as error:
        refused.append(f"{error.code} {error.read(300).decode()}")
    except OSError as error:
        refused.append(str(error))
print(json.dumps([allowed, refused]))
"""


def allowed(server: Installation, refused: list[str]) -> int:
    """How many of 20 answers allow pages of a shop to read them; adds what failed to `refused`."""
    count, failed = json.loads(server.python("client", ALLOWED, f"{server.url}/v1/model"))
    refused += failed
    return count


def test_an_uninstallation_leaves_nothing(cluster: None) -> None:
    with kubernetes.installation() as installed:
        installed.upgrade()
        installed.wait_until_ready()
        installed.helm("uninstall", installed.name)
        wait_for(lambda: not installed.remains(), GONE_S, "the end of every object")


@disposable
def test_kustomize_installs_the_same_and_removes_it(cluster: None, tmp_path: Path) -> None:
    with kubernetes.installation() as installed:
        overlay(tmp_path, installed.namespace)
        installed.kubectl("apply", "--kustomize", tmp_path)
        installed.wait_until_ready()
        with installed.load() as outcome:
            installed.kubectl("diff", "--kustomize", tmp_path)
        assert (outcome["sent"] > 0, outcome["failed"]) == (True, [])
        installed.kubectl("delete", "--kustomize", tmp_path)
        wait_for(lambda: not installed.remains(), GONE_S, "the end of every object")


def overlay(folder: Path, namespace: str) -> None:
    """Write a kustomization of k8s/kind, in a namespace and with the image of the tests."""
    repository, _, tag = kubernetes.IMAGE.rpartition(":")
    content = {
        "resources": [os.path.relpath(ROOT / "k8s/kind", folder.resolve())],
        "namespace": namespace,
        "images": [{"name": "pintag", "newName": repository, "newTag": tag}],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(content))
