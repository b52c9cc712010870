"""The manifests that kustomize builds have only known fields, and the settings of the server.

Ray's objects are validated by KubeRay's definitions, the others by Kubernetes' schemas.
"""

from __future__ import annotations

import copy
import functools
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from pintag.cli.commands import command as pintag
from pintag.core import config
from pintag.serve import app, environment, export
from pintag.serve.config import ClassifierArgs, ExplainerArgs, ServeConfig
from pintag.train.config import TrainConfig
from tests.conftest import CONFIGS, ROOT

OVERLAYS = sorted(path.parent for path in (ROOT / "k8s/overlays").glob("*/kustomization.yaml"))
JOBS = sorted(ROOT / "k8s/jobs" / name for name in ("train", "study", "bulk", "load"))
KUBERNETES = "1.33"
# Kinds of the Prometheus operator. Their definitions are not here; test_alerts.py loads the rules.
PROMETHEUS_KINDS = {"PodMonitor", "PrometheusRule"}
# Variables that the Dockerfile sets, with paths in the image.
IMAGE_VARIABLES = {"RAY_SERVE_HAPROXY_BINARY_PATH", "PINTAG_HAPROXY", "PINTAG_PYTHON"}

Object = dict[str, Any]

kustomize = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")


@functools.cache
def built(overlay: Path) -> list[Object]:
    """The objects of an overlay."""
    done = subprocess.run(
        ["kubectl", "kustomize", overlay], capture_output=True, text=True, check=True
    )
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


@pytest.fixture(params=OVERLAYS, ids=lambda path: path.name)
def overlay(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(params=[*OVERLAYS, *JOBS], ids=lambda path: path.name)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """The objects of an overlay or a job."""
    return copy.deepcopy(built(request.param))


@pytest.fixture
def service(overlay: Path) -> Object:
    """The RayService of an overlay."""
    (manifest,) = [item for item in copy.deepcopy(built(overlay)) if item["kind"] == "RayService"]
    return manifest


@pytest.fixture
def job() -> Object:
    """The RayJob that fits a model."""
    (manifest,) = copy.deepcopy(built(ROOT / "k8s/jobs/train"))
    return manifest


@pytest.fixture
def settings(overlay: Path) -> ServeConfig:
    """The settings of an overlay, as `make k8s` reads them."""
    overrides = (overlay / "overrides").read_text().splitlines()
    return config.load(ServeConfig, CONFIGS / "serve/cluster.yaml", overrides)


@pytest.fixture(scope="module")
def schemas() -> dict[str, Object]:
    """The JSON Schemas of Ray's kinds; they refuse unknown fields."""
    folder = Path(os.environ.get("PINTAG_TEST_SPECS", ROOT.parent / "shared" / "specs")) / "kuberay"
    if not folder.is_dir():
        pytest.skip(f"KubeRay's definitions are not at {folder}; set PINTAG_TEST_SPECS")
    schemas = {}
    for path in folder.glob("*.yaml"):
        definition = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]
        (version,) = [version for version in definition["versions"] if version["name"] == "v1"]
        schemas[definition["names"]["kind"]] = strict(version["schema"]["openAPIV3Schema"])
    return schemas


def strict(schema: Object) -> Object:
    """An OpenAPI schema as a JSON Schema that refuses unknown fields."""
    result = {key: value for key, value in schema.items() if key not in ("description", "default")}
    if result.pop("x-kubernetes-int-or-string", False):
        return {"type": ["integer", "string"]}
    if "properties" in result:
        result["properties"] = {key: strict(value) for key, value in result["properties"].items()}
        if not result.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = strict(result[key])
    return result


def check(manifest: Object, schemas: dict[str, Object]) -> None:
    # A definition accepts any object as metadata, which Kubernetes validates itself.
    content = {key: value for key, value in manifest.items() if key != "metadata"}
    jsonschema.validate({**content, "metadata": {}}, schemas[manifest["kind"]])


def ray_objects(objects: list[Object]) -> Iterator[Object]:
    yield from (manifest for manifest in objects if manifest["apiVersion"].startswith("ray.io/"))


def kubernetes_objects(objects: list[Object]) -> Iterator[Object]:
    others = {*PROMETHEUS_KINDS, *(manifest["kind"] for manifest in ray_objects(objects))}
    yield from (manifest for manifest in objects if manifest["kind"] not in others)


def check_core(manifest: Object) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def pods(objects: list[Object]) -> Iterator[Object]:
    """The specification of every pod."""
    for manifest in objects:
        spec = manifest.get("spec", {})
        cluster = spec.get("rayClusterConfig") or spec.get("rayClusterSpec")
        if cluster:
            for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
                yield group["template"]["spec"]
        if "submitterPodTemplate" in spec:
            yield spec["submitterPodTemplate"]["spec"]
        elif "template" in spec:
            yield spec["template"]["spec"]


@kustomize
def test_kuberay_knows_every_field_of_rays_objects(
    objects: list[Object], schemas: dict[str, Object]
) -> None:
    for manifest in ray_objects(objects):
        check(manifest, schemas)


@kustomize
def test_every_overlay_has_a_server_and_every_job_a_cluster() -> None:
    kinds = {
        path.name: {manifest["kind"] for manifest in ray_objects(built(path))}
        for path in OVERLAYS + JOBS
    }
    assert kinds == {
        **{path.name: {"RayService"} for path in OVERLAYS},
        **{path.name: {"RayJob"} for path in JOBS},
        "load": set(),
    }


@kustomize
def test_kubernetes_knows_every_field_of_its_objects(objects: list[Object]) -> None:
    for manifest in kubernetes_objects(objects):
        check_core(manifest)


@kustomize
@pytest.mark.parametrize(
    ("kind", "path", "key"),
    [
        ("NetworkPolicy", ("spec",), "podSelectors"),
        ("PodDisruptionBudget", ("spec",), "maxUnavailible"),
        ("StatefulSet", ("spec", "template", "spec", "containers", 0), "livenesProbe"),
        ("Ingress", ("spec", "rules", 0), "hosts"),
        ("PersistentVolumeClaim", ("spec",), "accessMode"),
    ],
)
def test_a_misspelt_field_of_kubernetes_is_refused(
    kind: str, path: tuple[Any, ...], key: str
) -> None:
    objects = copy.deepcopy(built(ROOT / "k8s/overlays/cpu"))
    manifest = next(item for item in objects if item["kind"] == kind)
    check_core(manifest)
    functools.reduce(lambda node, step: node[step], path, manifest)[key] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match=key):
        check_core(manifest)


@kustomize
def test_a_misspelt_field_of_a_job_is_refused(job: Object, schemas: dict[str, Object]) -> None:
    job["spec"]["entryPoint"] = "pintag --help"
    with pytest.raises(jsonschema.ValidationError, match="entryPoint"):
        check(job, schemas)


@kustomize
@pytest.mark.parametrize("name", ["train", "study", "bulk"])
def test_the_command_of_a_job_accepts_its_arguments(name: str) -> None:
    (manifest,) = built(ROOT / "k8s/jobs" / name)
    program, command, *arguments = shlex.split(manifest["spec"]["entrypoint"])
    assert (manifest["metadata"]["name"], program, command) == (name, "pintag", name)
    subcommand = pintag.commands[command]
    # This parses the arguments, and does not run the command.
    parent = click.Context(pintag, **pintag.context_settings)
    context = subcommand.make_context(name, list(arguments), parent=parent)
    for value in context.params.values():
        if str(value).startswith("/opt/pintag/configs/"):
            assert (ROOT / str(value).removeprefix("/opt/pintag/")).is_file()
    if name == "train":
        path = CONFIGS / "train" / Path(arguments[0]).name
        overrides = [argument for argument in arguments[1:] if "=" in argument]
        config.load(TrainConfig, path, overrides)


@kustomize
@pytest.mark.parametrize(
    ("path", "key"),
    [
        (("spec",), "upgradeStrateggy"),
        (("spec", "rayClusterConfig"), "enableAutoscaling"),
        (("spec", "rayClusterConfig", "workerGroupSpecs", 0), "minReplica"),
        (("spec", "rayClusterConfig", "headGroupSpec", "template", "spec"), "volume"),
    ],
)
def test_a_misspelt_field_is_refused(
    service: Object, schemas: dict[str, Object], path: tuple[Any, ...], key: str
) -> None:
    functools.reduce(lambda node, step: node[step], path, service)[key] = {}
    with pytest.raises(jsonschema.ValidationError, match=key):
        check(service, schemas)


@kustomize
def test_an_unknown_key_of_the_args_is_refused(service: Object) -> None:
    """Ray itself accepts any key of the args."""
    content = yaml.safe_load(service["spec"]["serveConfigV2"])
    content["applications"][0]["args"]["classifier"]["max_bach_size"] = 8
    ServeDeploySchema.model_validate(content)
    with pytest.raises(ValidationError, match="max_bach_size"):
        ClassifierArgs.model_validate(content["applications"][0]["args"])


@kustomize
def test_the_serve_configuration_is_that_of_cluster_yaml_and_the_overrides(
    service: Object, settings: ServeConfig
) -> None:
    content = yaml.safe_load(service["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(content)
    for application, kind in zip(
        content["applications"], (ClassifierArgs, ExplainerArgs), strict=True
    ):
        # Ray accepts unknown keys; pintag's classes refuse them.
        kind.model_validate(application["args"])
        assert hasattr(app, application["import_path"].removeprefix("pintag.serve.app:"))
    bundle = content["applications"][0]["args"]["bundle"]
    assert content == yaml.safe_load(export.serve_config(settings, bundle))


@kustomize
def test_nodes_have_the_variables_of_the_settings(
    service: Object, settings: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_SERVE_HAPROXY_BINARY_PATH", raising=False)
    expected = environment.variables(settings)
    nodes = [container for pod in pods([service]) for container in pod["containers"]]
    assert len(nodes) == 3
    for container in nodes:
        content = {
            variable["name"]: variable["value"]
            for variable in container["env"]
            if "value" in variable
        }
        assert content == {key: expected[key] for key in expected.keys() - IMAGE_VARIABLES}


@kustomize
def test_every_container_is_restricted(objects: list[Object]) -> None:
    """As the Pod Security Standard `restricted` requires, and with a read-only root file system."""
    all_pods = list(pods(objects))
    assert all_pods
    for pod in all_pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


@kustomize
def test_bundles_in_a_bucket_need_no_volume_and_workers_have_its_credentials(
    overlay: Path, tmp_path: Path, schemas: dict[str, Object]
) -> None:
    parts = {"resources": overlay, "components": ROOT / "k8s/components/bucket"}
    content = {kind: [os.path.relpath(path, tmp_path)] for kind, path in parts.items()}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
    objects = built(tmp_path)
    for manifest in kubernetes_objects(objects):
        check_core(manifest)
    (service,) = ray_objects(objects)
    check(service, schemas)
    head, *workers = pods([service])
    for pod in (head, *workers):
        (container,) = pod["containers"]
        assert [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume] == []
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert "/models" not in mounts
        # Copies of bundles are written there.
        assert "readOnly" not in mounts["/home/pintag"]
        keys = [{"secretRef": {"name": "bucket"}}]
        assert container.get("envFrom", []) == ([] if pod is head else keys)
    claims = {item["metadata"]["name"] for item in objects if "Claim" in item["kind"]}
    assert "models" not in claims


@kustomize
def test_a_worker_has_time_to_drain(service: Object, settings: ServeConfig) -> None:
    for group in service["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        _, seconds = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert int(seconds) > settings.http.drain_s
        longest = max(deployment.graceful_shutdown_timeout_s for deployment in settings.deployments)
        assert pod["terminationGracePeriodSeconds"] > int(seconds) + longest


@kustomize
def test_rays_own_ports_are_closed_to_other_namespaces(overlay: Path) -> None:
    """A client of the dashboard, the control store or Ray's client port can run code."""
    policies = [manifest for manifest in built(overlay) if manifest["kind"] == "NetworkPolicy"]
    closed = [
        policy
        for policy in policies
        if policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    ]
    assert len(closed) == 1
    ports: dict[int, list[Object]] = {}
    for policy in policies:
        for rule in policy["spec"].get("ingress", []):
            for port in rule.get("ports", []):
                ports.setdefault(port["port"], []).extend(rule["from"])
    assert ports.keys() == {8000, 8080, 9101, 8265, 6379, 5557}
    for port in (8265, 6379, 5557):
        assert all("podSelector" in source for source in ports[port])


@kustomize
def test_the_pod_monitor_names_ports_of_the_pods() -> None:
    objects = built(ROOT / "k8s/overlays/cpu")
    (monitor,) = [item for item in objects if item["kind"] == "PodMonitor"]
    (service,) = ray_objects(objects)
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]
    (container,) = group["spec"]["containers"]
    assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= {
        port["name"] for port in container["ports"]
    }
    assert monitor["spec"]["selector"]["matchLabels"].items() <= group["metadata"]["labels"].items()
