"""The Ray Serve applications that are built from a configuration or a Serve config file."""

from __future__ import annotations

from typing import Any

import pytest

from pintag.core.errors import ConfigError
from pintag.serve.config import ClassifierArgs, ExplainerArgs, LogConfig
from pintag.serve.deployment_config import (
    ClassifierAutoscalingConfig,
    ClassifierConfig,
    ExplainerConfig,
)

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("config", [ClassifierConfig(), ExplainerConfig()])
def test_requests_that_a_replica_refuses_reach_it(
    config: ClassifierConfig | ExplainerConfig,
) -> None:
    """Ray's limits are above the replica's own, so the replica can answer with a problem."""
    from pintag.serve.app import deployment_options

    options = deployment_options(config, LogConfig())
    assert options["max_ongoing_requests"] > config.max_ongoing_requests
    assert options["max_queued_requests"] > 0


def test_a_deployment_has_the_options_of_the_configuration() -> None:
    from pintag.serve.app import deployment_options

    config = ClassifierConfig(
        autoscaling=ClassifierAutoscalingConfig(min_replicas=2, max_replicas=5), num_gpus=0.5
    )
    options = deployment_options(config, LogConfig())
    assert options["autoscaling_config"]["min_replicas"] == 2
    assert options["autoscaling_config"]["max_replicas"] == 5
    assert options["ray_actor_options"]["num_gpus"] == 0.5


def describe(application: Any, key: str) -> tuple[str, str, int]:
    """The deployment's name, its bundle, and one value of its configuration."""
    deployment = application._bound_deployment
    bundle, config, *_ = deployment.init_args
    return deployment.name, bundle, config[key]


def test_ray_serve_can_build_it_from_a_config_file() -> None:
    """`import_path: pintag.serve.app:build`; its `args` are plain data."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call

    from pintag.serve.app import build

    application = call(build, {"bundle": "/models/pins", "classifier": {"max_batch_size": 8}})
    assert describe(application, "max_batch_size") == ("Classifier", "/models/pins", 8)
    with pytest.raises(ConfigError, match="max_batchsize"):
        call(build, {"bundle": "/models/pins", "classifier": {"max_batchsize": 8}})


def test_ray_serve_can_build_the_explainer_from_a_config_file() -> None:
    """`import_path: pintag.serve.app:build_explainer`."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call

    from pintag.serve.app import build_explainer

    application = call(build_explainer, {"bundle": "/models/pins", "explainer": {"max_samples": 8}})
    assert describe(application, "max_samples") == ("Explainer", "/models/pins", 8)
    with pytest.raises(ConfigError, match="max_sample"):
        call(build_explainer, {"bundle": "/models/pins", "explainer": {"max_sample": 8}})


def test_ray_serve_can_build_the_candidate_from_a_config_file() -> None:
    """`import_path: pintag.serve.app:build_candidate`."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call

    from pintag.serve.app import build_candidate

    application = call(
        build_candidate, {"bundle": "/models/new", "classifier": {"max_batch_size": 8}}
    )
    assert describe(application, "max_batch_size") == ("Candidate", "/models/new", 8)
    with pytest.raises(ConfigError, match="max_batchsize"):
        call(build_candidate, {"bundle": "/models/new", "classifier": {"max_batchsize": 8}})


def test_arguments_are_validated() -> None:
    args = ClassifierArgs.model_validate({"bundle": "/models/pins"})
    assert args.bundle == "/models/pins"
    assert args.classifier == ClassifierConfig()
    assert ExplainerArgs(bundle=args.bundle).explainer == ExplainerConfig()


@pytest.mark.parametrize("application", ["classifier", "explainer", "candidate"])
def test_wrong_args_of_a_ray_serve_configuration_are_named_as_in_every_configuration(
    application: str,
) -> None:
    """Ray shows the error of the builder in the status of the application."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call

    from pintag.serve import app

    builder = {
        "classifier": app.build,
        "explainer": app.build_explainer,
        "candidate": app.build_candidate,
    }[application]
    built = call(builder, {"bundle": "/models/pins", "engine": "openvino"})
    assert built._bound_deployment.init_args[0] == "/models/pins"
    with pytest.raises(ConfigError) as raised:
        call(builder, {"bundel": "/models/pins", "engine": "fast"})
    source = f"args of the application {application}: "
    lines = str(raised.value).splitlines()
    assert all(line.startswith(source) for line in lines)
    assert f"{source}unknown key 'bundel'; did you mean 'bundle'?" in lines
    assert f"{source}'bundle' is missing, and has no default" in lines
