"""Clients that keep their connections, while pods come and go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import (
    CLASSIFIERS,
    READY_S,
    TWO_PODS,
    Installation,
    disposable,
    is_ready,
    wait_for,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400), disposable]

OPTIONS = (
    *TWO_PODS,
    # A third may come and go.
    "--set=classifier.pods.max=3",
    "--set=settings.classifier.autoscaling.max_replicas=3",
    "--set=settings.classifier.autoscaling.downscale_delay_s=10",
    "--set=head.autoscaler.idleTimeoutSeconds=10",
    "--set=settings.explainer.enabled=false",
    "--set=settings.http.drain_s=15",
)


@pytest.fixture(params=["small", "large"])
def connections(request: pytest.FixtureRequest, server: Installation) -> Iterator[Installation]:
    """50 connections, each idle for up to 40 s between uploads.

    Large images are sent only once: HAProxy repeats requests of up to 256 KiB.
    """
    code = Path(__file__).with_name("connections.py").read_text(encoding="utf-8")
    variables = {"SERVER": server.url, "SIZE": {"small": "160", "large": "900"}[request.param]}
    with server.pod("connections", ["python", "-c", code], variables):
        wait_for(lambda: "ready" in server.kubectl("logs", "connections"), 180, "the connections")
        yield server


def test_a_deleted_pod_costs_no_request(connections: Installation) -> None:
    old = connections.pods(CLASSIFIERS)
    connections.kubectl("delete", "pod", next(iter(old)))
    wait_for(lambda: ready(connections) == 2, READY_S, "its successor")
    outcome = outcome_of(connections)
    assert outcome["failed"] == []


def test_scaling_costs_no_request(connections: Installation) -> None:
    for count in (3, 2):
        least = f"--set=settings.classifier.autoscaling.min_replicas={count}"
        connections.upgrade(*OPTIONS, least)
        wait_for(lambda: ready(connections) == count, READY_S, f"{count} pods")  # noqa: B023
    outcome = outcome_of(connections)
    assert outcome["failed"] == []


def ready(server: Installation) -> int:
    """How many pods of the classifier are ready; none counts while one of them is leaving."""
    pods = server.get("pods", "", CLASSIFIERS)["items"]
    if any("deletionTimestamp" in pod["metadata"] for pod in pods):
        return 0
    return sum(map(is_ready, pods))


def outcome_of(server: Installation) -> kubernetes.Object:
    """Stop the uploads; what became of them."""
    server.kubectl("exec", "connections", "--", "touch", "/tmp/stop")
    wait_for(lambda: "}" in server.kubectl("logs", "connections"), 120, "the outcome")
    found: kubernetes.Object = json.loads(server.kubectl("logs", "connections").splitlines()[-1])
    print(found)
    return found
