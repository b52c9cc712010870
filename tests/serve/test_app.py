"""From configuration to the Serve applications, for `pintag serve` and for a Serve config file."""

from __future__ import annotations

import pytest

from serve.config import (
    ClassifierArgs,
    ClassifierAutoscalingConfig,
    ClassifierConfig,
    ExplainerArgs,
    ExplainerConfig,
    LogConfig,
)

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("config", [ClassifierConfig(), ExplainerConfig()])
def test_a_replica_that_refuses_is_still_asked(config: ClassifierConfig | ExplainerConfig) -> None:
    """Ray's bounds lie above the replica's own, or the replica could not refuse politely."""
    from serve.app import deployment_options

    options = deployment_options(config, LogConfig())
    assert options["max_ongoing_requests"] > config.max_ongoing_requests
    assert options["max_queued_requests"] > 0


def test_the_deployment_is_told_what_the_configuration_says() -> None:
    from serve.app import deployment_options

    config = ClassifierConfig(
        autoscaling=ClassifierAutoscalingConfig(min_replicas=2, max_replicas=5), num_gpus=0.5
    )
    options = deployment_options(config, LogConfig())
    assert options["autoscaling_config"]["min_replicas"] == 2
    assert options["autoscaling_config"]["max_replicas"] == 5
    assert options["ray_actor_options"]["num_gpus"] == 0.5


def test_ray_serve_can_build_it_from_a_config_file() -> None:
    """`import_path: serve.app:build` with plain `args`, checked against the typed ones."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call

    from serve.app import build

    assert call(build, {"bundle": "/models/pins", "classifier": {"max_batch_size": 8}})
    with pytest.raises(ValueError, match="max_batchsize"):
        call(build, {"bundle": "/models/pins", "classifier": {"max_batchsize": 8}})


def test_ray_serve_can_build_the_explainer_from_a_config_file() -> None:
    """`import_path: serve.app:build_explainer`."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call

    from serve.app import build_explainer

    assert call(build_explainer, {"bundle": "/models/pins", "explainer": {"max_samples": 8}})
    with pytest.raises(ValueError, match="max_sample"):
        call(build_explainer, {"bundle": "/models/pins", "explainer": {"max_sample": 8}})


def test_ray_serve_can_build_the_candidate_from_a_config_file() -> None:
    """`import_path: serve.app:build_candidate`."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call

    from serve.app import build_candidate

    assert call(build_candidate, {"bundle": "/models/new", "classifier": {"max_batch_size": 8}})
    with pytest.raises(ValueError, match="max_batchsize"):
        call(build_candidate, {"bundle": "/models/new", "classifier": {"max_batchsize": 8}})


def test_arguments_are_typed() -> None:
    args = ClassifierArgs.model_validate({"bundle": "/models/pins"})
    assert args.bundle == "/models/pins"
    assert args.classifier == ClassifierConfig()
    assert ExplainerArgs(bundle=args.bundle).explainer == ExplainerConfig()
