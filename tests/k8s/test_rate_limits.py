"""The overlays with keys count the limits in Redis, and their replicas reach it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import yaml

from pintag.serve.auth import redis_limiter
from tests.conftest import ROOT
from tests.k8s.test_manifests import built, kustomize, pods, ray_objects


@kustomize
@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_replicas_reach_the_redis_that_counts_their_limits(name: str) -> None:
    objects = built(ROOT / "k8s/overlays" / name)
    (service,) = ray_objects(objects)
    (policy,) = (
        each["spec"]
        for each in objects
        if (each["kind"], each["metadata"]["name"]) == ("NetworkPolicy", "redis")
    )
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert policy["ingress"][0]["from"][1]["podSelector"]["matchExpressions"] == [
        {
            "key": "ray.io/group",
            "operator": "In",
            "values": [group["groupName"] for group in groups],
        }
    ]
    for application in yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]:
        url = urlsplit(application["args"]["access"]["rate_limits"]["redis"])
        assert (url.hostname, url.port, url.password) == ("redis", 6379, None)
    for pod in pods([service]):
        (password,) = (
            variable["valueFrom"]["secretKeyRef"]
            for variable in pod["containers"][0]["env"]
            if variable["name"] == redis_limiter.PASSWORD
        )
        assert password == {"name": "redis", "key": "password"}
