"""The configuration in the formats of other programs has the same values as `pintag serve`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from pintag.cluster import ray_variables
from pintag.core import config
from pintag.core.errors import ConfigError
from pintag.serve import app, export
from pintag.serve.config import (
    CandidateArgs,
    ClassifierArgs,
    ExplainerArgs,
    MetricsConfig,
    ServeConfig,
)
from pintag.serve.lifecycle import follower
from pintag.serve.nodes import environment, ports
from tests.conftest import CONFIGS

BUNDLE = "s3://models/pins/v1?endpoint_override=minio:9000"


@pytest.fixture(params=["local", "cluster"])
def settings(request: pytest.FixtureRequest) -> ServeConfig:
    return config.load(ServeConfig, CONFIGS / f"serve/{request.param}.yaml", ())


def test_ray_reads_the_same_applications(settings: ServeConfig) -> None:
    read = ServeDeploySchema.model_validate(yaml.safe_load(export.serve_config(settings, BUNDLE)))
    assert (read.http_options.host, read.http_options.port) == (
        settings.http.host,
        settings.http.port,
    )
    classifier, explainer = read.applications
    assert (classifier.name, classifier.route_prefix) == ("classifier", "/")
    assert (explainer.name, explainer.route_prefix) == ("explainer", "/v1/explanations")
    for application, kind, planned in zip(
        (classifier, explainer),
        (ClassifierArgs, ExplainerArgs),
        app.plan(settings, BUNDLE),
        strict=True,
    ):
        module, builder = application.import_path.split(":")
        assert module == app.__name__
        assert callable(getattr(app, builder))
        assert kind.model_validate(application.args) == planned.args


def test_without_an_explainer_there_is_one_application() -> None:
    settings = config.load(ServeConfig, None, ["explainer.enabled=false"])
    read = yaml.safe_load(export.serve_config(settings, BUNDLE))
    (only,) = read["applications"]
    assert only["args"]["explained"] is False


def test_a_follower_is_the_only_application_and_has_all_settings(settings: ServeConfig) -> None:
    text = yaml.safe_load(export.serve_config(settings, BUNDLE, follow=True))
    (only,) = ServeDeploySchema.model_validate(text).applications
    module, builder = only.import_path.split(":")
    assert (module, only.route_prefix) == (follower.__name__, None)
    deployment = getattr(follower, builder)(only.args)._bound_deployment
    uri, plain = deployment.init_args
    assert (uri, ServeConfig.model_validate(plain)) == (BUNDLE, settings)
    assert deployment.ray_actor_options["num_cpus"] == 0


def test_wrong_args_of_a_follower_are_named() -> None:
    with pytest.raises(ConfigError, match=r"args of the application follower: .*no_such_key"):
        follower.build({"bundle": BUNDLE, "no_such_key": 1})


def test_a_candidate_is_an_application_without_a_route() -> None:
    overrides = ["candidate.bundle=/models/new", "candidate.shadow=0.1", "precision=fp32"]
    settings = config.load(ServeConfig, CONFIGS / "serve/cluster.yaml", overrides)
    text = yaml.safe_load(export.serve_config(settings, BUNDLE))
    classifier, _, candidate = ServeDeploySchema.model_validate(text).applications
    assert (candidate.name, candidate.route_prefix) == ("candidate", None)
    assert candidate.import_path == f"{app.__name__}:{app.build_candidate.__name__}"
    args = CandidateArgs.model_validate(candidate.args)
    assert (args.bundle, args.precision) == ("/models/new", "fp32")
    assert args.classifier == settings.candidate_deployment
    assert ClassifierArgs.model_validate(classifier.args).candidate == settings.candidate


def test_a_shell_exports_the_same_environment(settings: ServeConfig) -> None:
    script = export.environment(settings) + "env -0"
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    exported = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)
    expected = environment.variables(settings)
    assert {key: exported[key] for key in expected} == expected


def exported(text: str) -> dict[str, str]:
    """The variables and values of `export NAME=VALUE` lines."""
    return dict(line.removeprefix("export ").split("=", 1) for line in text.splitlines())


def test_every_node_and_command_of_ray_sends_the_token_that_the_head_finds(
    settings: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setattr(ray_variables, "has_token", lambda: False)
    assert "RAY_AUTH_MODE" not in exported(export.environment(settings))
    monkeypatch.setattr(ray_variables, "has_token", lambda: True)
    assert exported(export.environment(settings))["RAY_AUTH_MODE"] == "token"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "RAY_AUTH_MODE" not in exported(export.environment(settings))


def test_the_ports_that_were_chosen_are_exported_to_other_nodes(
    settings: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ports.DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    assert not exported(export.environment(settings)).keys() & ports.DEFAULTS.keys()
    for number, name in enumerate(ports.DEFAULTS, start=9301):
        monkeypatch.setenv(name, str(number))
    assert list(map(exported(export.environment(settings)).get, ports.DEFAULTS)) == [
        "9301", "9302", "9303",
    ]  # fmt: skip


def test_prometheus_reads_this_machine_and_haproxy(
    settings: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray, haproxy = yaml.safe_load(export.prometheus(settings))["scrape_configs"]
    assert ray["static_configs"] == [{"targets": [f"127.0.0.1:{settings.metrics.port}"]}]
    assert haproxy["static_configs"] == [{"targets": ["127.0.0.1:9101"]}]


def test_prometheus_reads_the_chosen_port_of_haproxy_or_none(
    settings: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def targets(port: Any) -> list[Any]:
        changed = settings.model_copy(update={"metrics": MetricsConfig(haproxy_port=port)})
        _, *rest = yaml.safe_load(export.prometheus(changed))["scrape_configs"]
        return [each["static_configs"][0]["targets"] for each in rest]

    assert targets(9203) == [["127.0.0.1:9203"]]
    assert targets(False) == []


def test_on_a_cluster_prometheus_reads_rays_list_of_nodes(
    settings: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setenv("RAY_TMPDIR", "/scratch")
    text = export.prometheus(settings)
    # The paths and nodes that only the user knows.
    assert "--temp-dir" in text
    assert "add the other nodes" in text
    ray, haproxy = yaml.safe_load(text)["scrape_configs"]
    (listed,) = ray["file_sd_configs"][0]["files"]
    assert listed == "/scratch/ray/prom_metrics_service_discovery.json"
    assert haproxy["static_configs"] == [{"targets": ["127.0.0.1:9101"]}]


@pytest.mark.parametrize("what", ["serve-config", "environment", "prometheus"])
def test_the_command_prints_it_and_ends(what: str) -> None:
    # The same interpreter as this one, because its path is among the variables.
    command = [sys.executable, "-m", "pintag", "serve", "--bundle", BUNDLE, f"--{what}"]
    done = subprocess.run([*command, "http.port=8123"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    settings = config.load(ServeConfig, None, ["http.port=8123"])
    texts = {
        "serve-config": export.serve_config(settings, BUNDLE),
        "environment": export.environment(settings),
        "prometheus": export.prometheus(settings),
    }
    assert done.stdout == texts[what]
