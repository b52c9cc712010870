"""The Helm chart renders only fields that KubeRay and Kubernetes know, and refuses mistakes."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from scripts import chart
from tests.conftest import ROOT
from tests.k8s.rendering import (
    EVERYTHING,
    Object,
    check,
    cluster,
    helm,
    objects,
    one,
    refusal,
    templates,
    text,
)

pytestmark = helm

NAMES = [path.stem for path in chart.EXAMPLES]
Errors = (jsonschema.ValidationError, kubernetes_validate.ValidationError)


@pytest.mark.parametrize("example", NAMES)
def test_helm_finds_no_fault(example: str) -> None:
    values = chart.CHART / f"examples/{example}.yaml"
    command = [chart.HELM, "lint", "--strict", chart.CHART, "--values", values]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", NAMES)
@pytest.mark.parametrize("options", [(), EVERYTHING], ids=["example", "everything"])
def test_every_field_is_known(example: str, options: tuple[str, ...]) -> None:
    for manifest in objects(example, *options):
        check(manifest)


@pytest.mark.parametrize(
    ("kind", "path", "key"),
    [
        ("NetworkPolicy", ("spec",), "podSelectors"),
        ("PodDisruptionBudget", ("spec",), "maxUnavailible"),
        ("StatefulSet", ("spec", "template", "spec", "containers", 0), "livenesProbe"),
        ("RayService", ("spec",), "upgradeStrateggy"),
        ("RayService", ("spec", "rayClusterConfig", "workerGroupSpecs", 0), "minReplica"),
        ("RayService", ("spec", "rayClusterConfig", "headGroupSpec", "template", "spec"), "volume"),
        ("RayJob", ("spec",), "entryPoint"),
    ],
)
def test_a_misspelt_field_is_found(kind: str, path: tuple[Any, ...], key: str) -> None:
    manifest = next(each for each in objects("cpu", *EVERYTHING) if each["kind"] == kind)
    check(manifest)
    functools.reduce(lambda node, step: node[step], path, manifest)[key] = {}
    with pytest.raises(Errors, match=key):
        check(manifest)


def test_the_generated_files_are_current() -> None:
    """`make k8s` writes them."""
    files = {
        chart.CHART / "values.yaml": chart.values_with_settings(),
        chart.CHART / "values.schema.json": chart.schema(),
        **{ROOT / f"k8s/{name}/pintag.yaml": text(name) for name in NAMES},
    }
    assert [path for path, content in files.items() if path.read_text() != content] == []


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("example", NAMES)
def test_kustomize_builds_what_the_chart_renders(example: str) -> None:
    command = ["kubectl", "kustomize", ROOT / "k8s" / example]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [each for each in yaml.load_all(built, yaml.CSafeLoader) if each]
    assert sorted(found, key=name) == sorted(objects(example), key=name)


def name(manifest: Object) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


@pytest.mark.parametrize("example", NAMES)
def test_two_renderings_are_identical(example: str) -> None:
    values = chart.CHART / f"examples/{example}.yaml"
    assert chart.rendered(values, *EVERYTHING) == text(example, *EVERYTHING)


def test_two_installations_in_a_namespace_share_no_object_and_no_pod() -> None:
    first, second = (
        objects("cpu", *EVERYTHING, f"--set=fullnameOverride={name}") for name in ("one", "two")
    )
    names = [
        {(each["kind"], each["metadata"]["name"]) for each in side} for side in (first, second)
    ]
    assert not names[0] & names[1]
    for template in templates(first):
        assert template["metadata"]["labels"]["app.kubernetes.io/instance"] == "one"
    for policy in (each for each in second if each["kind"] == "NetworkPolicy"):
        selected = policy["spec"]["podSelector"]["matchLabels"]
        assert selected["app.kubernetes.io/instance"] == "two"


def test_long_names_are_shortened_and_stay_different() -> None:
    names = [f"{'a' * 45}-{number}" for number in (1, 2)]
    short = [
        one("RayService", "cpu", f"--set=fullnameOverride={name}")["metadata"]["name"]
        for name in names
    ]
    assert len({*short}) == 2
    # KubeRay accepts 47 characters, and jobs append to the name.
    assert all(len(name) <= 32 for name in short)
    for manifest in objects("cpu", *EVERYTHING, f"--set=fullnameOverride={names[0]}"):
        limit = 47 if manifest["apiVersion"].startswith("ray.io/") else 63
        assert len(manifest["metadata"]["name"]) <= limit


def test_a_subchart_accepts_what_helm_gives_it() -> None:
    options = ("--set=global.region=eu", "--set=enabled=true")
    assert text("cpu", *options) == text("cpu")


@pytest.mark.parametrize(
    ("example", "options", "words"),
    [
        ("kind", ["--set=bundle.uri="], "/bundle/uri"),
        ("kind", ["--set=imagee.tag=2"], "imagee"),
        ("kind", ["--set=settings.http.drain_seconds=2"], "drain_seconds"),
        ("kind", ["--set=settings.classifier.max_batch_size=0"], "max_batch_size"),
        ("kind", ["--set=settings.http.haproxy=false"], "haproxy"),
        ("kind", ["--set=settings.http.drain_s=null"], "drain_s"),
        ("kind", ["--set=image.digest=sha256:1"], "/image/digest"),
        ("kind", ["--set=head.objectStore=1GB"], "/head/objectStore"),
        (
            "kind",
            ["--set=head.objectStore=64Mi"],
            "head.objectStore is 64Mi: Ray needs at least 84Mi",
        ),
        ("kind", ["--set=server.enabled=false"], "none is enabled"),
        ("kind", ["--set=jobs.quota.pods=9"], "in a namespace of their own"),
        ("cpu", ["--set=keys.secretName="], "set keys.secretName to a Secret"),
        ("kind", ["--set=settings.access.allow_anonymous=false"], "has no API keys"),
        ("kind", ["--set=settings.classifier.autoscaling.max_replicas=3"], "have room for 2"),
        (
            "kind",
            ["--set=settings.classifier.autoscaling.max_replicas=1"],
            "min_replicas is 2, above max_replicas, 1",
        ),
        ("cpu", ["--set=classifier.pods.min=17"], "classifier.pods.min is above"),
        ("cpu", ["--set=bundle.volume.loadFrom=s3://a/b"], "needs bundle.volume.enabled=true"),
        ("kind", ["--set=fullnameOverride=1st"], "set fullnameOverride"),
        (
            "cpu",
            ["--set=kuberay.upgrade.type=NewClusterWithIncrementalUpgrade"],
            "needs kuberay.upgrade.gatewayClassName",
        ),
    ],
)
def test_a_mistake_is_refused_in_words(example: str, options: list[str], words: str) -> None:
    assert words in refusal(example, *options)


def test_jobs_can_be_installed_without_a_server() -> None:
    """In a namespace of their own, with a quota of their own."""
    options = ("--set=server.enabled=false", "--set=jobs.bulk.enabled=true")
    found = objects("kind", *options, "--set=jobs.quota.pods=9")
    for manifest in found:
        check(manifest)
    kinds = {each["kind"] for each in found}
    assert kinds == {"RayJob", "ResourceQuota", "NetworkPolicy", "ServiceAccount"}
    (quota,) = (each for each in found if each["kind"] == "ResourceQuota")
    assert quota["spec"]["hard"] == {"pods": 9}


def test_a_cluster_can_start_with_the_pods_and_replicas_that_run_now() -> None:
    """As docs/operations.md rolls out an image under load."""
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    (options,) = re.findall(r"(--set classifier\.pods\.min=.*)", page)
    options = options.replace("$((pods * 4))", "20").replace("$pods", "5")
    service = one("RayService", "cpu", *options.split())
    group = cluster(service)["workerGroupSpecs"][0]
    assert (group["groupName"], group["replicas"], group["minReplicas"]) == ("classifier", 5, 5)
    (classifier, *_) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    assert classifier["args"]["classifier"]["autoscaling"]["min_replicas"] == 20
