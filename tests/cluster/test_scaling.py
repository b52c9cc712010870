"""Pods and replicas follow the load, up and down, and no request fails."""

from __future__ import annotations

import pytest

from tests.cluster.kubernetes import (
    CLASSIFIERS,
    READY_S,
    Installation,
    component,
    disposable,
    is_ready,
    wait_for,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400), disposable]

OPTIONS = (
    "--set=settings.explainer.enabled=false,settings.http.drain_s=5",
    "--set=classifier.pods.max=2,classifier.replicasPerPod=1",
    "--set=settings.classifier.autoscaling.min_replicas=1",
    "--set=settings.classifier.autoscaling.max_replicas=2",
    # A few requests a second keep a second replica busy enough.
    "--set-json=settings.classifier.autoscaling.target_ongoing_requests=0.05",
    "--set=settings.classifier.autoscaling.downscale_delay_s=20",
    "--set=settings.classifier.cache_bytes=0",
    "--set=head.autoscaler.idleTimeoutSeconds=20",
)


@pytest.mark.parametrize("head", ["first", "second"])
def test_pods_come_and_go_with_the_load(server: Installation, head: str) -> None:
    """Also when another head has taken over."""
    if head == "second":
        replace_head(server)
    with server.load(rate=0.5) as outcome:
        with server.load(rate=20) as spike:
            wait_for(lambda: ready(server) == 2, READY_S, "a second pod that answers")
        # The same rendering again keeps what the load made, and changes nothing.
        manifest = server.helm("get", "manifest", server.name)
        server.kubectl("diff", "--filename=-", stdin=manifest)
        wait_for(lambda: len(server.pods(CLASSIFIERS)) == 1, READY_S, "the end of one")
    assert (outcome["failed"], spike["failed"]) == ([], [])


def replace_head(server: Installation) -> None:
    selector = component("head")
    (old,) = server.pods(selector)
    workers = server.pods(CLASSIFIERS)
    server.end(old)
    wait_for(lambda: [*server.pods(selector)] not in ([], [old]), 120, "another head")
    server.wait_until_ready()
    assert server.pods(CLASSIFIERS) == workers


def ready(server: Installation) -> int:
    """How many pods of the classifier answer."""
    return sum(map(is_ready, server.get("pods", "", CLASSIFIERS)["items"]))
