"""What ends on a cluster while clients upload, and what they notice of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import (
    CLASSIFIERS,
    READY_S,
    TWO_PODS,
    Installation,
    component,
    disposable,
    is_ready,
    run,
    wait_for,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400), disposable]

OPTIONS = (*TWO_PODS, "--set=settings.http.drain_s=10")
# Ends every process of a container but the first, which ends with them, or by Ctrl-C.
KILL = """
import contextlib, os, signal
with contextlib.suppress(ProcessLookupError):
    os.kill(-1, signal.SIGKILL)
os.kill(1, signal.SIGINT)
"""
# Writes more than `pods.logs` allows, in megabytes.
FILL = """
import sys
with open("/tmp/filling", "wb") as file:
    for _ in range(int(sys.argv[1])):
        file.write(bytes(1 << 20))
"""


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


def pod_of(server: Installation, kind: str) -> str:
    return next(iter(server.pods(component(kind))))


def test_a_killed_classifier_costs_only_what_it_had_under_way(server: Installation) -> None:
    """As the kernel does on control groups of version 2, if one process takes too much memory."""
    with server.load() as outcome:
        killed = pod_of(server, "classifier")
        server.run(killed, "python", "-c", KILL, check=False)
        wait_for(lambda: killed not in server.pods(), 120, "its end")
        wait_for(lambda: is_whole(server), READY_S, "all pods")
    assert_lost_only_what_was_under_way(outcome)


def assert_lost_only_what_was_under_way(outcome: kubernetes.Object) -> None:
    """At most two requests of the load, beside connections that nobody accepted.

    The Service goes on sending new connections to a pod until Kubernetes has noticed its end. A
    client that tries again, as a gateway does, gets an answer.
    """
    times = [at for _, at, _ in outcome["failed"]]
    assert max(times, default=0) - min(times, default=0) < 5, outcome
    assert sum("refused" not in reason for reason, _, _ in outcome["failed"]) <= 2, outcome


def test_a_pod_that_writes_more_than_its_limit_is_replaced(server: Installation) -> None:
    """Such as Ray's logs: the node's disk is not filled, and other pods stay."""
    with server.load() as outcome:
        pod = pod_of(server, "classifier")
        others = server.pods().items() - {(pod, server.pods()[pod])}
        server.python(pod, FILL, "2100")
        wait_for(lambda: "exceeds the limit" in server.kubectl("get", "events"), 180, "the event")
        wait_for(lambda: is_whole(server), READY_S, "all pods")
        assert others <= server.pods().items()
    assert_lost_only_what_was_under_way(outcome)


def test_a_deleted_pod_has_its_successor_soon(server: Installation) -> None:
    """KubeRay's init container, which waits for the head, has enough memory for this image."""
    for _ in range(3):
        old = server.pods(CLASSIFIERS)
        server.end(next(iter(old)))
        wait_for(lambda: is_whole(server), READY_S, "all pods")
        new = [each for each in classifiers(server) if each["metadata"]["name"] not in old]
        # A StatefulSet keeps names, KubeRay does not.
        (pod,) = new
        (init,) = pod["status"]["initContainerStatuses"]
        ended = init["state"]["terminated"]
        assert (ended["reason"], init["restartCount"]) == ("Completed", 0)
        print(
            f"waited {seconds_between(ended['startedAt'], ended['finishedAt']):.0f} s for the head;"
            f" ready {seconds_between(when(pod, 'PodScheduled'), when(pod, 'Ready')):.0f} s after"
            " a node was found"
        )


def classifiers(server: Installation) -> list[kubernetes.Object]:
    pods = server.get("pods", "", CLASSIFIERS)["items"]
    return list(pods)


def when(pod: kubernetes.Object, condition: str) -> str:
    """When a condition of a pod became true."""
    return next(
        str(each["lastTransitionTime"])
        for each in pod["status"]["conditions"]
        if each["type"] == condition
    )


def seconds_between(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


@pytest.mark.parametrize("kind", ["explainer", "head", "redis"])
def test_without_it_tags_go_on(server: Installation, kind: str) -> None:
    with server.load() as outcome:
        pod = pod_of(server, kind)
        old = server.pods()[pod]
        server.end(pod)
        wait_for(lambda: old not in server.pods().values(), 120, "its end")
        wait_for(lambda: is_whole(server), READY_S, "all pods")
    assert outcome["failed"] == []


def test_a_head_without_its_autoscaler_is_replaced(server: Installation) -> None:
    """KubeRay sends Serve configurations only to a head whose containers all run."""
    with server.load() as outcome:
        head = pod_of(server, "head")
        old = server.pods()[head]
        server.kubectl(
            "exec", head, "--container=autoscaler", "--", "python", "-c", KILL, check=False
        )
        wait_for(lambda: old not in server.pods().values(), 300, "the end of the head")
        wait_for(lambda: is_whole(server), READY_S, "all pods")
    assert outcome["failed"] == []


def test_without_the_operator_tags_go_on(server: Installation) -> None:
    selector = component("kuberay-operator")
    where = ("--namespace", "default")
    with server.load() as outcome:
        run("kubectl", "delete", "pod", *where, selector, "--grace-period=0", "--force")
        run("kubectl", "wait", "pod", *where, selector, "--for=condition=Ready", "--timeout=3m")
        # It looks at everything again when it starts.
        time.sleep(20)
        assert is_whole(server)
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
