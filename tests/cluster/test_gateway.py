"""The Gateway API: a route of the chart, and an upgrade that moves the traffic step by step.

A stand-in follows the routes (tests/cluster/gateway.py). The upgrade needs an operator with the
feature gate RayServiceIncrementalUpgrade; PINTAG_CLUSTER_INCREMENTAL=1 says that it has it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.cluster import kubernetes
from tests.cluster.gateway import gateway
from tests.cluster.kubernetes import READY_S, disposable, run, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400), disposable]

OPTIONS = ("--set=settings.explainer.enabled=false", "--set=kuberay.clusterDeletionDelaySeconds=30")
STEPS = (
    "--set=kuberay.upgrade.type=NewClusterWithIncrementalUpgrade",
    "--set=kuberay.upgrade.gatewayClassName=stand-in",
    "--set=kuberay.upgrade.stepSizePercent=25,kuberay.upgrade.intervalSeconds=10",
)
CLASS = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "stand-in"},
    "spec": {"controllerName": "pintag.example/stand-in"},
}


@pytest.fixture(scope="module", autouse=True)
def gateway_class(cluster: None) -> Iterator[None]:
    known = run("kubectl", "get", "crd", "httproutes.gateway.networking.k8s.io", check=False)
    if known.returncode:
        pytest.skip("the cluster has no definitions of the Gateway API")
    run("kubectl", "apply", "--filename=-", stdin=json.dumps(CLASS))
    yield
    run("kubectl", "delete", "gatewayclass", "stand-in")


def test_uploads_come_in_by_the_route_of_the_chart(cluster: None) -> None:
    with kubernetes.installation() as server:
        parents = '[{"name": "gateway"}]'
        options = ("--set=httpRoute.enabled=true", f"--set-json=httpRoute.parentRefs={parents}")
        server.upgrade(*OPTIONS, *options)
        server.wait_until_ready()
        with gateway(server, server.name) as way_in, server.load(url=way_in.url) as outcome:
            pass
    assert outcome["sent"]
    assert outcome["failed"] == []


@pytest.mark.skipif(
    os.environ.get("PINTAG_CLUSTER_INCREMENTAL") != "1",
    reason="PINTAG_CLUSTER_INCREMENTAL=1: the operator has RayServiceIncrementalUpgrade",
)
def test_an_image_is_rolled_out_step_by_step_and_back(cluster: None) -> None:
    with kubernetes.installation() as server:
        server.upgrade(*OPTIONS, *STEPS)
        server.wait_until_ready()
        with gateway(server, f"{server.name}-httproute") as way_in:
            with server.load(url=way_in.url) as outcome:
                for tag in ((f"--set=image.tag={kubernetes.SECOND_TAG}",), ()):
                    old = {*way_in.weights[-1]}
                    server.upgrade(*OPTIONS, *STEPS, *tag)
                    wait_for(
                        lambda: not old & {*way_in.weights[-1]},  # noqa: B023
                        READY_S,
                        "all traffic at the new cluster",
                    )
            shares = [sorted(weights.values()) for weights in way_in.weights]
    print(shares)
    assert outcome["failed"] == []
    assert [25, 75] in shares
    assert [50, 50] in shares
