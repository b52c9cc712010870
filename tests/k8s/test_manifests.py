"""The manifests as kustomize builds them: known fields only, and this server's settings."""

from __future__ import annotations

import copy
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from pintag import config
from serve import app, declaration, server
from serve.config import ClassifierArgs, ExplainerArgs, ServeConfig
from tests.conftest import CONFIGS, ROOT

OVERLAYS = sorted(path.parent for path in (ROOT / "k8s/overlays").glob("*/kustomization.yaml"))
BUNDLE = Path("/models/pins")
# Where the image has them: set in the Dockerfile, as they are no settings.
OF_THE_IMAGE = {"RAY_SERVE_HAPROXY_BINARY_PATH", "PINTAG_HAPROXY"}

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


@pytest.fixture
def objects(overlay: Path) -> list[Object]:
    return copy.deepcopy(built(overlay))


@pytest.fixture
def service(objects: list[Object]) -> Object:
    """The one server of an overlay."""
    (found,) = [each for each in objects if each["kind"] == "RayService"]
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


def pods(objects: list[Object]) -> Iterator[Object]:
    """The specification of every pod."""
    for each in objects:
        if each["kind"] == "RayService":
            cluster = each["spec"]["rayClusterConfig"]
            for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
                yield group["template"]["spec"]
        elif "template" in each.get("spec", {}):
            yield each["spec"]["template"]["spec"]


@kustomize
def test_rays_objects_have_no_field_that_kuberay_does_not_know(
    objects: list[Object], schemas: dict[str, Object]
) -> None:
    found = list(of_ray(objects))
    assert "RayService" in {each["kind"] for each in found}
    for each in found:
        check(each, schemas)


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
    assert told == yaml.safe_load(declaration.serve_config(settings, BUNDLE))


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
    assert len(found) >= 4
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
def test_a_worker_has_time_to_drain(service: Object, settings: ServeConfig) -> None:
    for group in service["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        _, seconds = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert int(seconds) > settings.http.drain_seconds
        longest = max(each.graceful_shutdown_timeout_s for each in settings.deployments)
        assert pod["terminationGracePeriodSeconds"] > int(seconds) + longest
