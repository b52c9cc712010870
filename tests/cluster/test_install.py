"""The chart on a real cluster: installed, applied again, changed under load, and removed."""

from __future__ import annotations

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import GONE_S, Installation, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]


def test_helm_test_tags_a_picture(server: Installation) -> None:
    assert "Phase:          Succeeded" in server.helm("test", server.name, "--timeout=5m")


def test_a_second_installation_changes_nothing(server: Installation) -> None:
    before = server.pods()
    server.upgrade()
    manifest = server.helm("get", "manifest", server.name)
    server.kubectl("diff", "--filename=-", stdin=manifest)
    assert server.pods().items() >= before.items()


def test_a_setting_is_rolled_out_under_load_and_no_request_fails(server: Installation) -> None:
    before = server.pods("--selector=ray.io/node-type")
    with server.load() as outcome:
        server.upgrade("--set=settings.classifier.cache_bytes=33554432")
        wait_for(lambda: "cache_bytes: 33554432" in applied(server), 60, "the new setting")
        wait_for(server.is_ready, kubernetes.READY_S, "the roll-out")
    assert outcome["failed"] == []
    assert server.pods("--selector=ray.io/node-type") == before


def applied(server: Installation) -> str:
    """The Serve configuration of the RayService."""
    text: str = server.get("rayservice", server.name)["spec"]["serveConfigV2"]
    return text


def test_an_uninstallation_leaves_nothing(cluster: None) -> None:
    with kubernetes.installation() as installed:
        installed.upgrade()
        installed.wait_until_ready()
        installed.helm("uninstall", installed.name)
        wait_for(lambda: not installed.remains(), GONE_S, "the end of every object")
