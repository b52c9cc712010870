"""Builds the Ray Serve applications from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from ray.serve import Application

from pintag.core import config as configuration
from pintag.core.config import Strict
from pintag.serve import errors
from pintag.serve.api import explanations
from pintag.serve.config import (
    ApiConfig,
    ApplicationArgs,
    CandidateArgs,
    ClassifierArgs,
    ExplainerArgs,
    LogConfig,
    ServeConfig,
)
from pintag.serve.deployment_config import ClassifierConfig, EngineConfig, ExplainerConfig
from pintag.serve.deployments.candidate import CANDIDATE, Candidate
from pintag.serve.deployments.classifier import Classifier
from pintag.serve.deployments.explainer import Explainer

CLASSIFIER, EXPLAINER = "classifier", "explainer"
A = TypeVar("A", bound=Strict)
# How many requests may wait in a replica for their bodies.
_WAITING_BODIES = 4096


@dataclass(frozen=True)
class PlannedApplication:
    """An application that a configuration requires."""

    name: str
    route_prefix: str | None
    """None: it has no HTTP route."""
    builder: Callable[[Any], Application]
    args: BaseModel


def plan(config: ServeConfig, bundle: str) -> list[PlannedApplication]:
    """The applications that serve one bundle; `bundle` is its folder or URI."""
    common = {"engine": config.engine, "precision": config.precision, "log": config.log}
    http = ApiConfig(**config.http.model_dump(include=set(ApiConfig.model_fields)))
    public = {**common, "bundle": bundle, "access": config.access, "http": http}
    explained, candidate = config.explainer.enabled, config.candidate
    classifier_args = ClassifierArgs(
        explained=explained, classifier=config.classifier, candidate=candidate, **public
    )
    planned = [PlannedApplication(CLASSIFIER, "/", build, classifier_args)]
    if explained:
        explainer_args = ExplainerArgs(explainer=config.explainer, **public)
        planned.append(
            PlannedApplication(EXPLAINER, explanations.PATH, build_explainer, explainer_args)
        )
    if candidate.bundle:
        candidate_args = CandidateArgs(
            bundle=candidate.bundle, classifier=config.candidate_deployment, **common
        )
        planned.append(PlannedApplication(CANDIDATE, None, build_candidate, candidate_args))
    return planned


def build(args: ClassifierArgs | Mapping[str, Any]) -> Application:
    """The classifier application, for `import_path: pintag.serve.app:build`.

    Raises:
        ConfigError: the mapping, `args` in a configuration of Ray Serve, has wrong keys or values.
    """
    args = parsed(ClassifierArgs, args, CLASSIFIER)
    access = args.access.model_dump(mode="json")
    candidate = args.candidate.model_dump(mode="json")
    http = args.http.model_dump(mode="json")
    return _bind(Classifier, args, args.classifier, access, candidate, args.explained, http)


def build_explainer(args: ExplainerArgs | Mapping[str, Any]) -> Application:
    """The explainer application, for `import_path: pintag.serve.app:build_explainer`.

    Raises:
        ConfigError: see `build`.
    """
    args = parsed(ExplainerArgs, args, EXPLAINER)
    access, http = args.access.model_dump(mode="json"), args.http.model_dump(mode="json")
    return _bind(Explainer, args, args.explainer, access, http)


def build_candidate(args: CandidateArgs | Mapping[str, Any]) -> Application:
    """The candidate application, for `import_path: pintag.serve.app:build_candidate`.

    Raises:
        ConfigError: see `build`.
    """
    args = parsed(CandidateArgs, args, CANDIDATE)
    return _bind(Candidate, args, args.classifier)


def parsed(model: type[A], args: A | Mapping[str, Any], application: str) -> A:
    """The arguments of an application, validated here: Ray would report an error of pydantic.

    Raises:
        ConfigError: a mapping has wrong keys or values.
    """
    if isinstance(args, Mapping):
        return configuration.parse(model, args, f"args of the application {application}")
    return args


def _bind(
    deployment: Any,
    args: ApplicationArgs,
    config: ClassifierConfig | ExplainerConfig,
    *more_args: Any,
) -> Application:
    engine = EngineConfig(engine=args.engine, precision=args.precision)
    # The deployment is decorated by Ray, whose types are not checked here.
    application: Application = deployment.options(**deployment_options(config, args.log)).bind(
        args.bundle,
        config.model_dump(mode="json"),
        engine.model_dump(),
        *more_args,
    )
    return application


def deployment_options(
    config: ClassifierConfig | ExplainerConfig, log: LogConfig
) -> dict[str, Any]:
    """The options of a deployment, as Ray Serve names them."""
    return {
        "autoscaling_config": config.autoscaling.model_dump(),
        # The replica itself refuses requests over its limit, when their bodies have arrived. Ray
        # counts a request from its head on, so its limit must be far higher: otherwise clients that
        # send no body would use it up.
        "max_ongoing_requests": config.max_ongoing_requests + _WAITING_BODIES,
        "max_queued_requests": config.max_ongoing_requests + _WAITING_BODIES,
        "max_surge_percent": config.max_surge_percent,
        "backpressure_config": {"retry_after_s": errors.RETRY_AFTER_S},
        "graceful_shutdown_timeout_s": config.graceful_shutdown_timeout_s,
        "health_check_period_s": config.health_check_period_s,
        "health_check_timeout_s": config.health_check_timeout_s,
        "logging_config": {
            "encoding": log.format.upper(),
            "log_level": "INFO",
            "enable_access_log": log.access,
        },
        "ray_actor_options": {
            "num_cpus": config.num_cpus,
            "num_gpus": config.num_gpus,
            "resources": config.resources,
            "runtime_env": {
                "env_vars": {
                    # By default Ray sets it to num_cpus, the cores that are reserved. The engine
                    # may use more.
                    "OMP_NUM_THREADS": str(config.engine_threads),
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                }
            },
        },
    }
