"""The chart on a real cluster: installed, applied again, changed under load, and removed."""

from __future__ import annotations

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import GONE_S, ROOM_FOR_ANOTHER, Installation, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

OPTIONS = (
    *ROOM_FOR_ANOTHER,
    "--set=settings.explainer.max_surge_percent=100,explainer.replicasPerPod=2",
)


def test_helm_test_tags_a_picture(server: Installation) -> None:
    assert "Phase:          Succeeded" in server.helm("test", server.name, "--timeout=5m")


def test_a_second_installation_changes_nothing(server: Installation) -> None:
    before = server.pods()
    server.upgrade(*OPTIONS)
    manifest = server.helm("get", "manifest", server.name)
    server.kubectl("diff", "--filename=-", stdin=manifest)
    assert server.pods().items() >= before.items()


@pytest.mark.parametrize("origins", ['["https://shop.example"]', "[]"], ids=["new", "back"])
def test_a_setting_is_rolled_out_under_load_and_no_request_fails(
    server: Installation, origins: str
) -> None:
    before = server.pods("--selector=ray.io/node-type")
    expected = 20 * (origins != "[]")
    with server.pod("client", ["sleep", "infinity"]), server.load() as outcome:
        server.upgrade(*OPTIONS, f"--set-json=settings.http.cors_origins={origins}")
        wait_for(lambda: allowed(server) == expected, kubernetes.READY_S, "the roll-out")
    assert outcome["failed"] == []
    assert server.pods("--selector=ray.io/node-type") == before


# Prints how many of 20 answers allow pages of a shop to read them.
ALLOWED = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Origin": "https://shop.example"})
answers = [urllib.request.urlopen(request, timeout=30) for _ in range(20)]
print(sum("Access-Control-Allow-Origin" in answer.headers for answer in answers))
"""


def allowed(server: Installation) -> int:
    return int(server.python("client", ALLOWED, f"{server.url}/v1/model"))


def test_an_uninstallation_leaves_nothing(cluster: None) -> None:
    with kubernetes.installation() as installed:
        installed.upgrade()
        installed.wait_until_ready()
        installed.helm("uninstall", installed.name)
        wait_for(lambda: not installed.remains(), GONE_S, "the end of every object")
