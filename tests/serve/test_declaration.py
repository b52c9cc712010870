"""The server in the words of other programs: they read what it would have done by itself."""

from __future__ import annotations

import subprocess
from pathlib import PurePosixPath

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from pintag import config
from serve import app, declaration, server
from serve.config import CandidateArgs, ClassifierArgs, ExplainerArgs, ServeConfig
from tests.conftest import CONFIGS, pintag

BUNDLE = "s3://models/pins/v1?endpoint_override=minio:9000"


@pytest.fixture(params=["local", "cluster"])
def settings(request: pytest.FixtureRequest) -> ServeConfig:
    return config.load(ServeConfig, CONFIGS / f"serve/{request.param}.yaml", ())


def test_ray_reads_the_same_applications(settings: ServeConfig) -> None:
    read = ServeDeploySchema.model_validate(
        yaml.safe_load(declaration.serve_config(settings, BUNDLE))
    )
    assert (read.http_options.host, read.http_options.port) == (
        settings.http.host,
        settings.http.port,
    )
    tags, why = read.applications
    assert (tags.name, tags.route_prefix) == ("classifier", "/")
    assert (why.name, why.route_prefix) == ("explainer", "/v1/explanations")
    for application, kind, planned in zip(
        (tags, why), (ClassifierArgs, ExplainerArgs), app.plan(settings, BUNDLE), strict=True
    ):
        module, builder = application.import_path.split(":")
        assert module == app.__name__
        assert callable(getattr(app, builder))
        assert kind.model_validate(application.args) == planned.args


def test_without_an_explainer_there_is_one_application() -> None:
    settings = config.load(ServeConfig, None, ["explainer.enabled=false"])
    read = yaml.safe_load(declaration.serve_config(settings, BUNDLE))
    (only,) = read["applications"]
    assert only["args"]["explained"] is False


def test_a_candidate_is_an_application_that_nobody_asks_over_http() -> None:
    overrides = ["candidate.bundle=/models/new", "candidate.shadow=0.1", "precision=fp32"]
    settings = config.load(ServeConfig, CONFIGS / "serve/cluster.yaml", overrides)
    text = yaml.safe_load(declaration.serve_config(settings, BUNDLE))
    tags, _, tried = ServeDeploySchema.model_validate(text).applications
    assert (tried.name, tried.route_prefix) == ("candidate", None)
    assert tried.import_path == f"{app.__name__}:{app.build_candidate.__name__}"
    args = CandidateArgs.model_validate(tried.args)
    assert (args.bundle, args.precision) == ("/models/new", "fp32")
    assert args.classifier == settings.trial
    assert ClassifierArgs.model_validate(tags.args).candidate == settings.candidate


def test_a_shell_exports_the_same_environment(settings: ServeConfig) -> None:
    script = declaration.environment(settings) + "env -0"
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    exported = dict(each.split("=", 1) for each in done.stdout.split("\0") if each)
    told = server.environment(settings)
    assert {key: exported[key] for key in told} == told


def test_prometheus_is_told_of_this_machine_and_of_haproxy(
    settings: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray, haproxy = yaml.safe_load(declaration.prometheus(settings))["scrape_configs"]
    assert ray["static_configs"] == [{"targets": [f"127.0.0.1:{settings.metrics.port}"]}]
    assert haproxy["static_configs"] == [{"targets": ["127.0.0.1:9101"]}]


def test_on_a_cluster_prometheus_is_told_of_rays_own_list(
    settings: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    ray, haproxy = yaml.safe_load(declaration.prometheus(settings))["scrape_configs"]
    (listed,) = ray["file_sd_configs"][0]["files"]
    assert PurePosixPath(listed).name == "prom_metrics_service_discovery.json"
    assert haproxy["static_configs"] == [{"targets": ["127.0.0.1:9101"]}]


@pytest.mark.parametrize("what", ["serve-config", "environment", "prometheus"])
def test_the_command_prints_it_and_ends(what: str) -> None:
    done = pintag("serve", "--bundle", BUNDLE, f"--{what}", "http.port=8123")
    assert done.returncode == 0, done.stderr
    settings = config.load(ServeConfig, None, ["http.port=8123"])
    texts = {
        "serve-config": declaration.serve_config(settings, BUNDLE),
        "environment": declaration.environment(settings),
        "prometheus": declaration.prometheus(settings),
    }
    assert done.stdout == texts[what]
