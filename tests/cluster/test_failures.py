"""What ends on a cluster while clients upload, and what they notice of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import READY_S, Installation, run, wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        os.environ.get("PINTAG_CLUSTER_DISPOSABLE") != "1",
        reason="kills pods and drains nodes: PINTAG_CLUSTER_DISPOSABLE=1 allows that",
    ),
]

# Two pods with one classifier replica each, so that one may end.
OPTIONS = (
    "--set=classifier.pods.min=2,classifier.pods.max=2,classifier.replicasPerPod=1",
    "--set=settings.classifier.autoscaling.min_replicas=2",
    "--set=settings.http.drain_s=10",
)
# Ends every process of a container but the first, which then ends as well.
KILL = "import os, signal; os.kill(-1, signal.SIGKILL)"


@pytest.fixture(autouse=True)
def whole(server: Installation) -> Iterator[None]:
    """Each test begins with all pods, and ends with all pods."""
    wait_for(lambda: is_whole(server), READY_S, "all pods")
    yield
    wait_for(lambda: is_whole(server), READY_S, "all pods")


def is_whole(server: Installation) -> bool:
    """Whether every pod is there and ready, and none of an earlier one."""
    pods = server.get("pods", "", "--selector=ray.io/node-type")["items"]
    return len(pods) == 4 and all(map(is_ready, pods)) and server.is_ready()


def is_ready(pod: kubernetes.Object) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def pod_of(server: Installation, component: str) -> str:
    selector = f"--selector=app.kubernetes.io/component={component}"
    return next(iter(server.pods(selector)))


def end(server: Installation, pod: str) -> None:
    """Remove a pod without a farewell, as when its node loses power."""
    server.kubectl("delete", "pod", pod, "--force", "--grace-period=0")


def test_a_killed_classifier_costs_only_what_it_had_under_way(server: Installation) -> None:
    """As the kernel does on control groups of version 2, if one process takes too much memory."""
    with server.load() as outcome:
        killed = pod_of(server, "classifier")
        server.run(killed, "python", "-c", KILL, check=False)
        wait_for(lambda: killed not in server.pods() or is_whole(server), 120, "its replacement")
        wait_for(lambda: is_whole(server), READY_S, "all pods")
    # The Service goes on sending new connections to the pod until Kubernetes has noticed its end.
    # A client that tries again, as a gateway does, loses only what the pod had under way.
    times = [at for _, at in outcome["failed"]]
    assert max(times, default=0) - min(times, default=0) < 5, outcome
    assert sum("refused" not in reason for reason, _ in outcome["failed"]) <= 2, outcome


@pytest.mark.parametrize("component", ["explainer", "head", "redis"])
def test_without_it_tags_go_on(server: Installation, component: str) -> None:
    with server.load() as outcome:
        pod = pod_of(server, component)
        old = server.pods()[pod]
        end(server, pod)
        wait_for(lambda: old not in server.pods().values(), 120, "its end")
        wait_for(lambda: is_whole(server), READY_S, "all pods")
    assert outcome["failed"] == []


def test_without_the_operator_tags_go_on(server: Installation) -> None:
    selector = "--selector=app.kubernetes.io/component=kuberay-operator"
    with server.load() as outcome:
        run(
            "kubectl",
            "delete",
            "pod",
            "--namespace",
            "default",
            selector,
            "--grace-period=0",
            "--force",
        )
        wait_for(lambda: is_whole(server), READY_S, "all pods")
    assert outcome["failed"] == []


def test_a_node_of_a_classifier_is_drained_and_no_request_fails(server: Installation) -> None:
    pod = pod_of(server, "classifier")
    node = server.get("pod", pod)["spec"]["nodeName"]
    drain = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=8m")
    selector = "--pod-selector=app.kubernetes.io/component=classifier"
    with server.load() as outcome:
        try:
            run("kubectl", "drain", node, *drain, selector)
        finally:
            # The other nodes may have no room for another pod.
            run("kubectl", "uncordon", node)
        wait_for(lambda: is_whole(server), READY_S, "all pods")
    assert outcome["failed"] == []
