"""A node whose kubelet stops, or that is off the network.

PINTAG_CLUSTER_STOP_KUBELET, …_START_KUBELET, …_CUT and …_MEND are commands of a shell that do that
to the node $NODE (scripts/test-on-lab.sh has the lab's). PINTAG_CLUSTER_AWAY_S is how long the node
of the head stays away at least.
"""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from tests.cluster.kubernetes import (
    CLASSIFIERS,
    READY_S,
    TWO_PODS,
    Installation,
    Object,
    component,
    disposable,
    is_ready,
    run,
    wait_for,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400), disposable]

OPTIONS = (
    *TWO_PODS,
    "--set=settings.explainer.enabled=false",
    "--set=settings.http.drain_s=5",
)


AWAY_S = float(os.environ.get("PINTAG_CLUSTER_AWAY_S", "120"))
# The command of docs/operations.md, and the one that takes it back.
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"


def on_node(action: str, node: str) -> None:
    """Do something to a node."""
    variable = f"PINTAG_CLUSTER_{action}"
    if variable not in os.environ:
        pytest.skip(f"{variable} is not set")
    command = ["sh", "-c", os.environ[variable]]
    subprocess.run(command, check=True, env=os.environ | {"NODE": node}, timeout=60)


def heads(server: Installation) -> list[Object]:
    return list(server.get("pods", "", component("head"))["items"])


def ready_classifiers(server: Installation) -> list[Object]:
    """The classifier's pods that are ready and stay."""
    return [pod for pod in server.get("pods", "", CLASSIFIERS)["items"] if is_ready(pod)]


def pod_addresses(server: Installation) -> dict[str, str]:
    """The address of a ready pod of the classifier on each node."""
    return {pod["spec"]["nodeName"]: pod["status"]["podIP"] for pod in ready_classifiers(server)}


@pytest.fixture
def nodes(server: Installation) -> tuple[str, str]:
    """A node with a classifier but without head and Redis, and another with a classifier."""
    wait_for(lambda: len(pod_addresses(server)) == 2, READY_S, "a pod on each node")
    (head,) = heads(server)
    (redis,) = server.get("pods", "", component("redis"))["items"]
    busy = {each["spec"]["nodeName"] for each in (head, redis)}
    free = [node for node in pod_addresses(server) if node not in busy]
    if not free:
        pytest.skip("head and Redis are on both nodes")
    (other,) = set(pod_addresses(server)) - {free[0]}
    return free[0], other


def is_node_ready(node: str) -> bool:
    path = "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return run("kubectl", "get", "node", node, path).stdout == "True"


def test_without_a_kubelet_the_pods_of_a_node_answer(
    server: Installation, nodes: tuple[str, str]
) -> None:
    node, other = nodes
    with server.load(node=other) as outcome:
        on_node("STOP_KUBELET", node)
        try:
            wait_for(lambda: not is_node_ready(node), 120, "Kubernetes to notice")
            time.sleep(40)  # longer than Kubernetes tolerates: it gives the pods up
        finally:
            on_node("START_KUBELET", node)
        wait_for(lambda: is_node_ready(node), 120, "the node")
        wait_for(lambda: len(pod_addresses(server)) == 2, READY_S, "a pod on each node")
    assert outcome["failed"] == []


def test_a_node_off_the_network_costs_the_other_nodes_clients_nothing(
    server: Installation, nodes: tuple[str, str]
) -> None:
    """Of a gateway that sends requests only to pods that answer, as gateways do."""
    node, other = nodes
    url = f"http://{pod_addresses(server)[other]}:8000"
    with (
        server.load(10, node=other) as by_service,
        server.load(10, url=url, node=other) as by_pod,
    ):
        on_node("CUT", node)
        try:
            time.sleep(35)
        finally:
            on_node("MEND", node)
        wait_for(lambda: is_node_ready(node), 120, "the node")
        wait_for(lambda: len(pod_addresses(server)) == 2, READY_S, "a pod on each node")
    print(f"by the Service, {len(by_service['failed'])} of {by_service['sent']} failed")
    assert by_pod["failed"] == []


def test_a_head_whose_node_is_lost_comes_back_by_the_documented_command(
    server: Installation,
) -> None:
    """Meanwhile the pods of other nodes answer, although Redis may be lost, too.

    A pod that answers keeps its replica (decision 35). Some connections to it may be refused while
    the new head starts.
    """
    wait_for(lambda: len(pod_addresses(server)) == 2, READY_S, "a pod on each node")
    (head,) = heads(server)
    node = head["spec"]["nodeName"]
    (other,) = set(pod_addresses(server)) - {node}
    (kept,) = (pod for pod in ready_classifiers(server) if pod["spec"]["nodeName"] == other)
    url = f"http://{kept['status']['podIP']}:8000"
    with server.load(10, url=url, node=other) as outcome:
        on_node("CUT", node)
        cut = time.monotonic()
        try:
            wait_for(lambda: "deletionTimestamp" in heads(server)[0]["metadata"], 180, "its end")
            run("kubectl", "taint", "node", node, OUT_OF_SERVICE)
            wait_for(lambda: any(map(is_ready, heads(server))), READY_S, "a new head")
            print(f"a new head after {time.monotonic() - cut:.0f} s")
            time.sleep(max(0, cut + AWAY_S - time.monotonic()))
        finally:
            on_node("MEND", node)
            run("kubectl", "taint", "node", node, f"{OUT_OF_SERVICE}-", check=False)
        wait_for(lambda: is_node_ready(node), 120, "the node")
        # Its classifier may have a successor on the other node.
        wait_for(lambda: len(ready_classifiers(server)) == 2, READY_S, "two pods")
    times = [at for _, at, _ in outcome["failed"]]
    assert len(times) <= 10, outcome
    assert max(times, default=0) - min(times, default=0) < 5, outcome
    logs = server.run(kept["metadata"]["name"], "ls", "/tmp/ray/session_latest/logs/serve")
    assert logs.count("replica_classifier_") == 1, logs
    (successor,) = heads(server)
    assert successor["metadata"]["uid"] != head["metadata"]["uid"]
