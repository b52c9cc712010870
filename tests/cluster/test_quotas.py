"""Namespaces with default limits, and quotas that admit no second cluster (report K05)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import READY_S, Installation, disposable, wait_for
from tests.cluster.test_upgrades import active, clusters

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400), disposable]

LIMITS = (*kubernetes.CPU_LIMITS, "--set=kuberay.clusterDeletionDelaySeconds=30")
# The limits of one cluster, of Redis, and of the pod that uploads; not those of a second cluster.
QUOTA = "limits.cpu=12"
# Less than a classifier requests. Kubernetes admits no pod that requests more than its limit.
DEFAULT_LIMIT = "300m"


@pytest.fixture(scope="module")
def namespace(cluster: None) -> Iterator[Installation]:
    """A namespace that gives a limit to every container without one."""
    limits = {"type": "Container", "default": {"cpu": DEFAULT_LIMIT}}
    manifest = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "defaults"},
        "spec": {"limits": [limits]},
    }
    with kubernetes.installation() as installed:
        installed.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))
        yield installed


def events(server: Installation) -> str:
    return server.kubectl("get", "events")


def test_pods_above_the_namespaces_limit_are_named_and_limits_of_their_own_are_admitted(
    namespace: Installation,
) -> None:
    namespace.upgrade()
    refusal = "must be less than or equal to cpu limit"
    wait_for(lambda: refusal in events(namespace), 180, "the refusal")
    namespace.upgrade(*LIMITS)
    namespace.wait_until_ready()


def test_a_quota_that_admits_no_second_cluster_keeps_the_first_and_is_named(
    namespace: Installation,
) -> None:
    namespace.kubectl("create", "quota", "processors", f"--hard={QUOTA}")
    with namespace.load() as outcome:
        first = active(namespace)
        namespace.upgrade(*LIMITS, f"--set=image.tag={kubernetes.SECOND_TAG}")
        wait_for(lambda: "exceeded quota" in events(namespace), 180, "the refusal")
        assert active(namespace) == first
        namespace.upgrade(*LIMITS)
        wait_for(lambda: clusters(namespace) == [active(namespace)], READY_S, "the only cluster")
    assert outcome["failed"] == []
