"""Objects that the chart renders, and the definitions that they are held to."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from scripts import chart
from tests.conftest import ROOT

KUBERNETES = "1.33"
# The Prometheus operator's and the Gateway API's kinds. Their definitions are not here.
OTHER_KINDS = {"PodMonitor", "PrometheusRule", "HTTPRoute"}
# Every optional object of the chart, beside those of an example.
EVERYTHING = (
    "--set=bundle.volume.enabled=true", "--set=bundle.volume.loadFrom=s3://bucket/models/pins/1",
    "--set=bundle.uri=/models/pins/1", "--set=ingress.enabled=true",
    "--set=ingress.hosts={tags.example.com}", "--set=ingress.tlsSecretName=tls",
    "--set=jobs.train.enabled=true", "--set=jobs.retrain.enabled=true",
    "--set=jobs.study.enabled=true", "--set=jobs.bulk.enabled=true",
    "--set=jobs.load.enabled=true", "--set=jobs.dataClaim=data",
    "--set=monitoring.podMonitor.enabled=true", "--set=monitoring.rules.enabled=true",
    "--set=monitoring.dashboard.enabled=true", "--set=priorityClasses.create=true",
    "--set=service.type=LoadBalancer", "--set=headroom.pods=1", "--set=image.prePull=true",
    "--set=image.pullSecrets={registry}",
)  # fmt: skip

Object = dict[str, Any]

helm = pytest.mark.skipif(
    not shutil.which(chart.HELM), reason="helm is not installed; HELM names another program"
)


@functools.cache
def text(example: str, *options: str) -> str:
    return chart.rendered(chart.CHART / f"examples/{example}.yaml", *options)


def objects(example: str, *options: str) -> list[Object]:
    """The objects that the chart renders with an example and more options of helm."""
    return [each for each in yaml.load_all(text(example, *options), yaml.CSafeLoader) if each]


def one(kind: str, example: str, *options: str, name: str = "") -> Object:
    """The only object of a kind (and of a name)."""
    (found,) = (
        each
        for each in objects(example, *options)
        if each["kind"] == kind and name in ("", each["metadata"]["name"])
    )
    return found


def refusal(example: str, *options: str) -> str:
    """What helm answers to values that it refuses."""
    command = [
        chart.HELM, "template", "pintag", chart.CHART,
        f"--values={chart.CHART / f'examples/{example}.yaml'}",
        f"--kube-version={chart.KUBE_VERSION}", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


def cluster(manifest: Object) -> Object:
    """The Ray cluster of a RayService or a RayJob."""
    spec = manifest["spec"]
    found: Object = spec.get("rayClusterConfig") or spec.get("rayClusterSpec")
    return found


def ray_objects(manifests: list[Object]) -> Iterator[Object]:
    yield from (each for each in manifests if each["apiVersion"].startswith("ray.io/"))


def templates(manifests: list[Object]) -> Iterator[Object]:
    """The template of every pod."""
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["apiVersion"].startswith("ray.io/"):
            found = cluster(manifest)
            for group in [found["headGroupSpec"], *found["workerGroupSpecs"]]:
                yield group["template"]
        if "submitterPodTemplate" in spec:
            yield spec["submitterPodTemplate"]
        elif "template" in spec:
            yield spec["template"]


@functools.cache
def definitions() -> dict[str, Object]:
    """The JSON Schemas of Ray's kinds; they refuse unknown fields."""
    folder = Path(os.environ.get("PINTAG_TEST_SPECS", ROOT.parent / "shared" / "specs")) / "kuberay"
    if not folder.is_dir():
        pytest.skip(f"KubeRay's definitions are not at {folder}; set PINTAG_TEST_SPECS")
    schemas = {}
    for path in folder.glob("*.yaml"):
        definition = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]
        (version,) = [version for version in definition["versions"] if version["name"] == "v1"]
        schemas[definition["names"]["kind"]] = _strict(version["schema"]["openAPIV3Schema"])
    return schemas


def _strict(schema: Object) -> Object:
    """An OpenAPI schema as a JSON Schema that refuses unknown fields."""
    result = {key: value for key, value in schema.items() if key not in ("description", "default")}
    if result.pop("x-kubernetes-int-or-string", False):
        return {"type": ["integer", "string"]}
    if "properties" in result:
        result["properties"] = {key: _strict(value) for key, value in result["properties"].items()}
        if not result.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = _strict(result[key])
    return result


def check(manifest: Object) -> None:
    """Check that KubeRay or Kubernetes knows every field of an object.

    Raises:
        jsonschema.ValidationError: it does not.
    """
    if manifest["apiVersion"].startswith("ray.io/"):
        # A definition accepts any object as metadata, which Kubernetes validates itself.
        jsonschema.validate({**manifest, "metadata": {}}, definitions()[manifest["kind"]])
    elif manifest["kind"] not in OTHER_KINDS:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
