"""A node whose kubelet stops, or that is off the network.

PINTAG_CLUSTER_STOP_KUBELET, …_START_KUBELET, …_CUT and …_MEND are commands of a shell that do that
to the node $NODE (scripts/test-on-lab.sh has the lab's).
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


def on_node(action: str, node: str) -> None:
    """Do something to a node."""
    variable = f"PINTAG_CLUSTER_{action}"
    if variable not in os.environ:
        pytest.skip(f"{variable} is not set")
    command = ["sh", "-c", os.environ[variable]]
    subprocess.run(command, check=True, env=os.environ | {"NODE": node}, timeout=60)


def pod_addresses(server: Installation) -> dict[str, str]:
    """The address of the classifier's pod on each node; of pods that are ready and stay."""
    return {
        pod["spec"]["nodeName"]: pod["status"]["podIP"]
        for pod in server.get("pods", "", CLASSIFIERS)["items"]
        if is_ready(pod)
    }


@pytest.fixture
def nodes(server: Installation) -> tuple[str, str]:
    """A node with a classifier but without head and Redis, and another with a classifier."""
    wait_for(lambda: len(pod_addresses(server)) == 2, READY_S, "a pod on each node")
    (head,) = server.get("pods", "", component("head"))["items"]
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
    """Of a way in that sends requests only to pods that answer, as gateways do."""
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
