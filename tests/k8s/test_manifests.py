"""The manifests as kustomize builds them: known fields only, and this server's settings.

Ray's objects are held to KubeRay's definitions, Kubernetes' own to its schemas.
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

from pintag import config
from pintag.cli.main import command as pintag
from serve import app, declaration, server
from serve.config import ClassifierArgs, ExplainerArgs, ServeConfig
from tests.conftest import CONFIGS, ROOT
from train.config import TrainConfig

OVERLAYS = sorted(path.parent for path in (ROOT / "k8s/overlays").glob("*/kustomization.yaml"))
JOBS = sorted(ROOT / "k8s/jobs" / name for name in ("train", "study", "bulk", "load"))
KUBERNETES = "1.33"
# Definitions of the Prometheus operator's kinds are not at hand; test_alerts.py loads the rules.
OF_OTHERS = {"PodMonitor", "PrometheusRule"}
# Where the image has them: set in the Dockerfile, as they are no settings.
OF_THE_IMAGE = {"RAY_SERVE_HAPROXY_BINARY_PATH", "PINTAG_HAPROXY", "PINTAG_PYTHON"}

Object = dict[str, Any]

kustomize = pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here")


@functools.cache
def built(overlay: Path) -> list[Object]:
    """The objects of an overlay."""
    done = subprocess.run(
        ["kubectl", "kustomize", overlay], capture_output=True, text=True, check=True
    )
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.fixture(params=OVERLAYS, ids=lambda path: path.name)
def overlay(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture(params=[*OVERLAYS, *JOBS], ids=lambda path: path.name)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """Of an overlay, or of a job."""
    return copy.deepcopy(built(request.param))


@pytest.fixture
def service(overlay: Path) -> Object:
    """The one server of an overlay."""
    (found,) = [each for each in copy.deepcopy(built(overlay)) if each["kind"] == "RayService"]
    return found


@pytest.fixture
def job() -> Object:
    """A fit."""
    (found,) = copy.deepcopy(built(ROOT / "k8s/jobs/train"))
    return found


@pytest.fixture
def settings(overlay: Path) -> ServeConfig:
    """As `make k8s` takes them."""
    overrides = (overlay / "overrides").read_text().splitlines()
    return config.load(ServeConfig, CONFIGS / "serve/cluster.yaml", overrides)


@pytest.fixture(scope="module")
def schemas() -> dict[str, Object]:
    """Of Ray's kinds, in which a field that is not named is wrong."""
    place = Path(os.environ.get("PINTAG_TEST_SPECS", ROOT.parent / "shared" / "specs")) / "kuberay"
    if not place.is_dir():
        pytest.skip(f"KubeRay's definitions are not at {place}; PINTAG_TEST_SPECS says where")
    found = {}
    for path in place.glob("*.yaml"):
        definition = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]
        (version,) = [each for each in definition["versions"] if each["name"] == "v1"]
        found[definition["names"]["kind"]] = strict(version["schema"]["openAPIV3Schema"])
    return found


def strict(schema: Object) -> Object:
    """An OpenAPI schema as JSON Schema that refuses what it does not know."""
    made = {key: value for key, value in schema.items() if key not in ("description", "default")}
    if made.pop("x-kubernetes-int-or-string", False):
        return {"type": ["integer", "string"]}
    if "properties" in made:
        made["properties"] = {key: strict(value) for key, value in made["properties"].items()}
        if not made.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = strict(made[key])
    return made


def check(found: Object, schemas: dict[str, Object]) -> None:
    # Metadata is any object to a definition, and Kubernetes' own to know.
    content = {key: value for key, value in found.items() if key != "metadata"}
    jsonschema.validate({**content, "metadata": {}}, schemas[found["kind"]])


def of_ray(objects: list[Object]) -> Iterator[Object]:
    yield from (each for each in objects if each["apiVersion"].startswith("ray.io/"))


def of_kubernetes(objects: list[Object]) -> Iterator[Object]:
    ours = {*OF_OTHERS, *(each["kind"] for each in of_ray(objects))}
    yield from (each for each in objects if each["kind"] not in ours)


def check_core(found: Object) -> None:
    kubernetes_validate.validate(found, KUBERNETES, strict=True)


def pods(objects: list[Object]) -> Iterator[Object]:
    """The specification of every pod."""
    for each in objects:
        spec = each.get("spec", {})
        cluster = spec.get("rayClusterConfig") or spec.get("rayClusterSpec")
        if cluster:
            for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
                yield group["template"]["spec"]
        if "submitterPodTemplate" in spec:
            yield spec["submitterPodTemplate"]["spec"]
        elif "template" in spec:
            yield spec["template"]["spec"]


@kustomize
def test_rays_objects_have_no_field_that_kuberay_does_not_know(
    objects: list[Object], schemas: dict[str, Object]
) -> None:
    for each in of_ray(objects):
        check(each, schemas)


@kustomize
def test_there_is_a_server_in_every_overlay_and_a_cluster_for_every_job() -> None:
    kinds = {path.name: {each["kind"] for each in of_ray(built(path))} for path in OVERLAYS + JOBS}
    assert kinds == {
        **{path.name: {"RayService"} for path in OVERLAYS},
        **{path.name: {"RayJob"} for path in JOBS},
        "load": set(),
    }


@kustomize
def test_kubernetes_objects_have_no_field_that_it_does_not_know(objects: list[Object]) -> None:
    for each in of_kubernetes(objects):
        check_core(each)


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
    found = next(each for each in objects if each["kind"] == kind)
    check_core(found)
    functools.reduce(lambda at, step: at[step], path, found)[key] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match=key):
        check_core(found)


@kustomize
def test_a_misspelt_field_of_a_job_is_refused(job: Object, schemas: dict[str, Object]) -> None:
    job["spec"]["entryPoint"] = "pintag --help"
    with pytest.raises(jsonschema.ValidationError, match="entryPoint"):
        check(job, schemas)


@kustomize
@pytest.mark.parametrize("name", ["train", "study", "bulk"])
def test_a_job_gives_the_command_arguments_that_it_takes(name: str) -> None:
    (found,) = built(ROOT / "k8s/jobs" / name)
    program, command, *arguments = shlex.split(found["spec"]["entrypoint"])
    assert (found["metadata"]["name"], program, command) == (name, "pintag", name)
    known = pintag.commands[command]
    # Without running it: only what the command line says is looked at.
    parent = click.Context(pintag, **pintag.context_settings)
    context = known.make_context(name, list(arguments), parent=parent)
    for each in context.params.values():
        if str(each).startswith("/opt/pintag/configs/"):
            assert (ROOT / str(each).removeprefix("/opt/pintag/")).is_file()
    if name == "train":
        path = CONFIGS / "train" / Path(arguments[0]).name
        overrides = [each for each in arguments[1:] if "=" in each]
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
    functools.reduce(lambda at, step: at[step], path, service)[key] = {}
    with pytest.raises(jsonschema.ValidationError, match=key):
        check(service, schemas)


@kustomize
def test_a_key_that_nobody_reads_is_refused(service: Object) -> None:
    """Ray takes it in silence."""
    told = yaml.safe_load(service["spec"]["serveConfigV2"])
    told["applications"][0]["args"]["classifier"]["max_bach_size"] = 8
    ServeDeploySchema.model_validate(told)
    with pytest.raises(ValidationError, match="max_bach_size"):
        ClassifierArgs.model_validate(told["applications"][0]["args"])


@kustomize
def test_what_is_served_is_what_cluster_yaml_and_the_overrides_say(
    service: Object, settings: ServeConfig
) -> None:
    told = yaml.safe_load(service["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(told)
    for application, kind in zip(
        told["applications"], (ClassifierArgs, ExplainerArgs), strict=True
    ):
        # Ray accepts keys that nobody reads; ours does not.
        kind.model_validate(application["args"])
        assert hasattr(app, application["import_path"].removeprefix("serve.app:"))
    bundle = told["applications"][0]["args"]["bundle"]
    assert told == yaml.safe_load(declaration.serve_config(settings, bundle))


@kustomize
def test_the_nodes_have_the_environment_that_the_settings_ask_for(
    service: Object, settings: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_SERVE_HAPROXY_BINARY_PATH", raising=False)
    wanted = server.environment(settings)
    nodes = [container for pod in pods([service]) for container in pod["containers"]]
    assert len(nodes) == 3
    for container in nodes:
        told = {each["name"]: each["value"] for each in container["env"]}
        assert told == {key: wanted[key] for key in wanted.keys() - OF_THE_IMAGE}


@kustomize
def test_every_container_is_restricted(objects: list[Object]) -> None:
    """By the Pod Security Standard `restricted`, and its root file system stays as it is."""
    found = list(pods(objects))
    assert found
    for pod in found:
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
def test_bundles_of_a_bucket_need_no_volume_and_workers_have_its_keys(
    overlay: Path, tmp_path: Path, schemas: dict[str, Object]
) -> None:
    parts = {"resources": overlay, "components": ROOT / "k8s/components/bucket"}
    told = {kind: [os.path.relpath(path, tmp_path)] for kind, path in parts.items()}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(told))
    objects = built(tmp_path)
    for each in of_kubernetes(objects):
        check_core(each)
    (service,) = of_ray(objects)
    check(service, schemas)
    head, *workers = pods([service])
    for pod in (head, *workers):
        (container,) = pod["containers"]
        assert [each for each in pod["volumes"] if "persistentVolumeClaim" in each] == []
        mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
        assert "/models" not in mounts
        # Where copies of bundles are kept.
        assert "readOnly" not in mounts["/home/pintag"]
        keys = [{"secretRef": {"name": "bucket"}}]
        assert container.get("envFrom", []) == ([] if pod is head else keys)
    claims = {each["metadata"]["name"] for each in objects if "Claim" in each["kind"]}
    assert "models" not in claims


@kustomize
def test_a_worker_has_time_to_drain(service: Object, settings: ServeConfig) -> None:
    for group in service["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        _, seconds = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert int(seconds) > settings.http.drain_seconds
        longest = max(each.graceful_shutdown_timeout_s for each in settings.deployments)
        assert pod["terminationGracePeriodSeconds"] > int(seconds) + longest


@kustomize
def test_rays_own_ports_are_open_to_nobody_from_outside(overlay: Path) -> None:
    """Who reaches the dashboard, the control store or a client's port runs code on the cluster."""
    policies = [each for each in built(overlay) if each["kind"] == "NetworkPolicy"]
    closed = [
        each for each in policies if each["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    ]
    assert len(closed) == 1
    ports: dict[int, list[Object]] = {}
    for policy in policies:
        for rule in policy["spec"].get("ingress", []):
            for port in rule.get("ports", []):
                ports.setdefault(port["port"], []).extend(rule["from"])
    assert ports.keys() == {8000, 8080, 9101, 8265, 6379, 5557}
    for port in (8265, 6379, 5557):
        assert all("podSelector" in each for each in ports[port])


@kustomize
def test_what_is_monitored_is_a_port_of_a_pod() -> None:
    objects = built(ROOT / "k8s/overlays/cpu")
    (monitor,) = [each for each in objects if each["kind"] == "PodMonitor"]
    (service,) = of_ray(objects)
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]
    (container,) = group["spec"]["containers"]
    assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} <= {
        each["name"] for each in container["ports"]
    }
    assert monitor["spec"]["selector"]["matchLabels"].items() <= group["metadata"]["labels"].items()
