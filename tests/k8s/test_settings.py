"""Servers on Kubernetes have the settings and variables that `pintag serve` computes."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from pintag.core import config
from pintag.serve import app, export
from pintag.serve.auth import redis_limiter
from pintag.serve.config import ServeConfig
from pintag.serve.lifecycle import follower, readiness
from pintag.serve.nodes import environment
from scripts import chart
from tests.k8s.rendering import Object, cluster, helm, one

pytestmark = helm

NAMES = [path.stem for path in chart.EXAMPLES]
# Variables that the Dockerfile sets, with paths in the image.
IMAGE_VARIABLES = {"RAY_SERVE_HAPROXY_BINARY_PATH", "PINTAG_HAPROXY", "PINTAG_PYTHON"}
# Settings whose values decide which applications and variables there are.
CHANGES: dict[str, dict[str, object]] = {
    "no explainer": {"explainer": {"enabled": False}},
    "a candidate": {
        "candidate": {"bundle": "s3://bucket/models/pins/2", "canary": 0.1, "deadline_s": 0.7}
    },
    "other times": {
        "http": {"drain_s": 0, "retry_bytes": 65536, "root_path": "/pintag"},
        "classifier": {"deadline_s": 1.5, "graceful_shutdown_timeout_s": 7.5},
        "explainer": {"deadline_s": 33, "graceful_shutdown_timeout_s": 80.5},
        "log": {"traces": 0.25, "format": "text"},
    },
    "a port of HAProxy's metrics": {"metrics": {"haproxy_port": 9201}},
    "no metrics of HAProxy": {"metrics": {"haproxy_port": False}},
    "large pictures": {
        "http": {"throughput_optimized": False, "max_connections_per_client": 0},
        "explainer": {"images": {"max_bytes": 50_000_000, "body_timeout_s": 90.5}},
    },
}


def settings(example: str, changes: Path) -> tuple[ServeConfig, Object]:
    """The settings of an example with changes, and its RayService."""
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())["settings"]
    for path in (chart.CHART / f"examples/{example}.yaml", changes):
        merge(values, yaml.safe_load(path.read_text()))
    values["classifier"]["resources"] = {"classifier": 1}
    values["explainer"]["resources"] = {"explainer": 1}
    if values["access"]["keys"]:
        values["access"]["rate_limits"]["redis"] = "redis://pintag-redis:6379/1"
    service = one("RayService", example, f"--values={changes}")
    return config.parse(ServeConfig, values, example), service


def merge(values: Object, example: Object) -> None:
    """Put the settings of an example into others, as Helm does."""
    for key, value in example.get("settings", {}).items():
        if isinstance(value, dict):
            merge(values[key], {"settings": value})
        else:
            values[key] = value


@pytest.mark.parametrize("change", ["", *CHANGES])
@pytest.mark.parametrize("example", NAMES)
def test_the_serve_configuration_and_the_variables_are_those_of_pintag(
    example: str, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*IMAGE_VARIABLES, "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump({"settings": CHANGES.get(change, {})}))
    expected, service = settings(example, path)
    content = serve_config(service)
    ServeDeploySchema.model_validate(content)
    bundle = content["applications"][0]["args"]["bundle"]
    assert content == yaml.safe_load(export.serve_config(expected, bundle))
    for application in content["applications"]:
        assert hasattr(app, application["import_path"].removeprefix("pintag.serve.app:"))
    variables = environment.variables(expected)
    for container in nodes(service):
        given = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        assert {name: given.get(name) for name in variables.keys() - IMAGE_VARIABLES} == {
            name: variables[name] for name in variables.keys() - IMAGE_VARIABLES
        }


def nodes(service: Object) -> list[Object]:
    groups = [cluster(service)["headGroupSpec"], *cluster(service)["workerGroupSpecs"]]
    return [group["template"]["spec"]["containers"][0] for group in groups]


def serve_config(service: Object) -> Object:
    """The Serve configuration of a RayService, without the last application, which only waits."""
    content: Object = yaml.safe_load(service["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(content)
    last = content["applications"].pop()
    assert last["import_path"] == f"{readiness.__name__}:{readiness.build.__name__}"
    return content


@pytest.mark.parametrize("example", NAMES)
def test_a_registry_is_followed_by_one_application_on_nodes_of_the_classifier(
    example: str, tmp_path: Path
) -> None:
    (tmp_path / "values.yaml").write_text("settings: {}")
    expected, _ = settings(example, tmp_path / "values.yaml")
    service = one("RayService", example, "--set=bundle.follow=true,bundle.uri=s3://models/pins")
    content = serve_config(service)
    ServeDeploySchema.model_validate(content)
    (only,) = content["applications"]
    assert only["args"].pop("follower") == {"resources": {"follower": 1}}
    printed = yaml.safe_load(export.serve_config(expected, "s3://models/pins", follow=True))
    assert printed["applications"][0]["args"].pop("follower") == {"resources": {}}
    assert content == printed
    builder = only["import_path"].removeprefix(f"{follower.__name__}:")
    assert callable(getattr(follower, builder))
    resources = {
        group["groupName"]: json.loads(group["rayStartParams"]["resources"].strip("'"))
        for group in cluster(service)["workerGroupSpecs"]
    }
    assert {name for name, given in resources.items() if "follower" in given} == {"classifier"}


@pytest.mark.parametrize(
    ("options", "address", "secret"),
    [
        ((), "redis://pintag-redis:6379", "pintag-redis"),
        (
            (
                "--set=redis.external.host=cache.example.com", "--set=redis.external.port=6380",
                "--set=redis.external.tls=true", "--set=redis.external.username=ray",
                "--set=redis.secretName=cache",
            ),
            "rediss://cache.example.com:6380",
            "cache",
        ),
    ],
)  # fmt: skip
def test_the_control_store_and_the_limits_of_keys_are_in_one_redis(
    options: tuple[str, ...], address: str, secret: str
) -> None:
    service = one("RayService", "cpu", *options)
    store = cluster(service)["gcsFaultToleranceOptions"]
    key = {"secretKeyRef": {"name": secret, "key": "password"}}
    assert (store["redisAddress"], store["redisPassword"]["valueFrom"]) == (address, key)
    for application in serve_config(service)["applications"]:
        url = urlsplit(application["args"]["access"]["rate_limits"]["redis"])
        assert f"{url.scheme}://{url.hostname}:{url.port}" == address
        assert (url.username, url.password) == (store.get("redisUsername", {}).get("value"), None)
    for container in nodes(service):
        (password,) = [each for each in container["env"] if each["name"] == redis_limiter.PASSWORD]
        assert password["valueFrom"] == key
