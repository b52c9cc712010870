"""From configuration to the Serve applications."""

# Annotations are not postponed here: Ray Serve reads the classes of arguments from them.

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.serve import Application

from serve import explanations, protocol
from serve.candidate import CANDIDATE, Candidate
from serve.classifier import Classifier
from serve.config import (
    ApplicationArgs,
    CandidateArgs,
    ClassifierArgs,
    ClassifierConfig,
    EngineConfig,
    ExplainerArgs,
    ExplainerConfig,
    LogConfig,
    ServeConfig,
)
from serve.explainer import Explainer

CLASSIFIER, EXPLAINER = "classifier", "explainer"


@dataclass(frozen=True)
class Planned:
    """An application that a configuration asks for."""

    name: str
    route_prefix: str | None
    """None: nobody asks it over HTTP."""
    builder: Callable[[Any], Application]
    args: ApplicationArgs


def plan(config: ServeConfig, bundle: str) -> list[Planned]:
    """The applications of a server of one bundle."""
    common = {"engine": config.engine, "precision": config.precision, "log": config.log}
    served = {**common, "bundle": bundle, "access": config.access}
    explained, tried = config.explainer.enabled, config.candidate
    tags = ClassifierArgs(
        explained=explained, classifier=config.classifier, candidate=tried, **served
    )
    planned = [Planned(CLASSIFIER, "/", build, tags)]
    if explained:
        why = ExplainerArgs(explainer=config.explainer, **served)
        planned.append(Planned(EXPLAINER, explanations.PATH, build_explainer, why))
    if tried.bundle:
        args = CandidateArgs(bundle=tried.bundle, classifier=config.trial, **common)
        planned.append(Planned(CANDIDATE, None, build_candidate, args))
    return planned


def build(args: ClassifierArgs) -> Application:
    """The classifier application; also Ray Serve's `import_path: serve.app:build`."""
    door, tried = args.access.model_dump(mode="json"), args.candidate.model_dump(mode="json")
    return _bind(Classifier, args, args.classifier, door, tried, args.explained)


def build_explainer(args: ExplainerArgs) -> Application:
    """The explainer application; also Ray Serve's `import_path: serve.app:build_explainer`."""
    return _bind(Explainer, args, args.explainer, args.access.model_dump(mode="json"))


def build_candidate(args: CandidateArgs) -> Application:
    """The candidate application; also Ray Serve's `import_path: serve.app:build_candidate`."""
    return _bind(Candidate, args, args.classifier)


def _bind(
    deployment: Any,
    args: ApplicationArgs,
    config: ClassifierConfig | ExplainerConfig,
    *others: Any,
) -> Application:
    engine = EngineConfig(engine=args.engine, precision=args.precision)
    # Decorated by Ray, whose types are not checked here.
    application: Application = deployment.options(**deployment_options(config, args.log)).bind(
        args.bundle,
        config.model_dump(mode="json"),
        engine.model_dump(),
        *others,
    )
    return application


def deployment_options(
    config: ClassifierConfig | ExplainerConfig, log: LogConfig
) -> dict[str, Any]:
    """What Ray Serve is told of a deployment."""
    return {
        "autoscaling_config": config.autoscaling.model_dump(),
        # The replica itself refuses what is over the bound, with a problem that says so; Ray's own
        # bound lies above it, for the requests that are being refused.
        "max_ongoing_requests": 2 * config.max_ongoing_requests,
        "max_queued_requests": 2 * config.max_ongoing_requests,
        "max_surge_percent": config.max_surge_percent,
        "backpressure_config": {"retry_after_s": protocol.RETRY_AFTER_SECONDS},
        "graceful_shutdown_timeout_s": config.graceful_shutdown_timeout_s,
        "health_check_period_s": config.health_check_period_s,
        "health_check_timeout_s": config.health_check_timeout_s,
        # A line for each request would cost more than the request is worth; metrics count them.
        "logging_config": {
            "encoding": log.format.upper(),
            "log_level": "INFO",
            "enable_access_log": False,
        },
        "ray_actor_options": {
            "num_cpus": config.num_cpus,
            "num_gpus": config.num_gpus,
            "resources": config.resources,
            "runtime_env": {
                "env_vars": {
                    # Ray would set it to num_cpus, which says what is reserved, not what is used.
                    "OMP_NUM_THREADS": str(config.engine_threads),
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                }
            },
        },
    }
