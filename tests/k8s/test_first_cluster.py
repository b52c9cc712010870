"""The example `kind` fits the machine of docs/tutorials/first-cluster.md."""

from __future__ import annotations

from decimal import Decimal

from tests.conftest import ROOT
from tests.k8s.rendering import Object, cluster, helm, objects, one, templates

pytestmark = helm

UNITS = {"m": Decimal("0.001"), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "": Decimal(1)}
# What others request there: kind's API server, etcd, scheduler, controller manager, network and two
# pods of DNS, and KubeRay's operator.
OTHERS = {"cpu": Decimal("1.05"), "memory": Decimal(900 * 2**20)}
# `helm test` draws a picture in a pod of its own.
TEST_POD = {"cpu": Decimal("0.1"), "memory": Decimal(128 * 2**20)}
# KubeRay adds an init container to each worker, which waits for the head.
WAITS = {"cpu": Decimal("0.2"), "memory": Decimal(256 * 2**20)}


def number(quantity: str) -> Decimal:
    unit = quantity.lstrip("0123456789.")
    return Decimal(quantity.removesuffix(unit)) * UNITS[unit]


def requested(resource: str) -> Decimal:
    """What the pods of the example request together."""
    head = cluster(one("RayService", "kind"))
    autoscaler = head["autoscalerOptions"]["resources"]["requests"]
    return number(autoscaler.get(resource, "0")) + sum(
        of_pod(template, resource) for template in templates(objects("kind"))
    )


def of_pod(template: Object, resource: str) -> Decimal:
    containers = template["spec"]["containers"]
    own = sum(number(each["resources"]["requests"].get(resource, "0")) for each in containers)
    is_worker = template["metadata"]["labels"]["app.kubernetes.io/component"] in (
        "classifier",
        "explainer",
    )
    return max(Decimal(own), WAITS.get(resource, Decimal(0)) if is_worker else Decimal(0))


def test_it_needs_two_cores_and_ten_gibibytes() -> None:
    assert requested("cpu") + OTHERS["cpu"] + TEST_POD["cpu"] <= 2
    assert requested("memory") + OTHERS["memory"] + TEST_POD["memory"] <= 10 * 2**30


def test_it_needs_fifteen_gigabytes_of_disk() -> None:
    """With the image in Docker and in the node."""
    assert 0 < requested("ephemeral-storage") + 2 * Decimal("2.6e9") <= 15 * 10**9


def test_kustomize_names_the_image_that_the_page_loads() -> None:
    (image,) = {
        container["image"]
        for template in templates(objects("kind"))
        for container in template["spec"]["containers"]
        if container["name"] == "ray"
    }
    page = (ROOT / "docs/tutorials/first-cluster.md").read_text(encoding="utf-8")
    assert f"kind load docker-image {image} " in page
