"""A new image, and what cannot be rolled out: the old server answers until the new one does."""

from __future__ import annotations

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import READY_S, ROOM_FOR_ANOTHER, Installation, disposable, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400), disposable]

OPTIONS = (
    *ROOM_FOR_ANOTHER,
    "--set=kuberay.clusterDeletionDelaySeconds=30",
)


def active(server: Installation) -> str:
    """The name of the RayCluster that answers."""
    status = server.get("rayservice", server.name)["status"]
    name: str = status["activeServiceStatus"]["rayClusterName"]
    return name


def clusters(server: Installation) -> list[str]:
    return [each["metadata"]["name"] for each in server.get("rayclusters")["items"]]


def test_another_image_is_rolled_out_and_back_under_load(server: Installation) -> None:
    with server.load() as outcome:
        for options in ((f"--set=image.tag={kubernetes.SECOND_TAG}",), ()):
            old = active(server)
            server.upgrade(*OPTIONS, *options)
            wait_for(lambda: active(server) != old, READY_S, "the new cluster")  # noqa: B023
            wait_for(lambda: old not in clusters(server), 180, "the old one's end")  # noqa: B023
    assert outcome["failed"] == []


def test_an_image_that_does_not_exist_changes_nothing_and_is_named(server: Installation) -> None:
    with server.load() as outcome:
        server.upgrade(*OPTIONS, "--set=image.tag=missing")
        text = "Failed to pull image"
        wait_for(lambda: text in server.kubectl("get", "events"), 120, "the event")
        server.upgrade(*OPTIONS)
        # KubeRay makes a third cluster in place of the pending one, though it is like the first.
        # The pod that removes the state of the pending one needs the image that does not exist:
        # after five minutes KubeRay gives that up.
        wait_for(lambda: clusters(server) == [active(server)], READY_S, "the only cluster")
    assert outcome["failed"] == []


def test_a_bundle_that_does_not_exist_changes_nothing_and_is_named(server: Installation) -> None:
    with server.load() as outcome:
        server.upgrade(*OPTIONS, "--set=bundle.uri=/models/missing")
        wait_for(lambda: "/models/missing" in messages(server), READY_S, "the reason")
        assert "no bundle here" in messages(server)
        server.upgrade(*OPTIONS)
        wait_for(lambda: not messages(server), READY_S, "the way back")
    assert outcome["failed"] == []


def messages(server: Installation) -> str:
    """What the RayService says about its applications."""
    status = server.get("rayservice", server.name)["status"]["activeServiceStatus"]
    applications = status.get("applicationStatuses", {}).values()
    return " ".join(
        each.get("message", "")
        for application in applications
        for each in (application, *application.get("serveDeploymentStatuses", {}).values())
    ).strip()
