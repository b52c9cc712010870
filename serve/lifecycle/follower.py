"""An application that follows a registry on a cluster, and deploys the applications that answer.

It is the only one in the configuration of Ray Serve that `pintag serve --serve-config --follow`
prints, and the others are not in that configuration: KubeRay sends it again when its operator has
restarted, and must not change the version that serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import Field
from ray import serve
from ray.serve import Application
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from pintag.core.config import Strict
from pintag.core.errors import DataError, PintagError
from pintag.core.store import last_name
from pintag.models.registry import Registry
from pintag.serve.app import CLASSIFIER, PlannedApplication, parsed
from pintag.serve.config import ServeConfig
from pintag.serve.lifecycle import rollout, served_bundle
from pintag.serve.lifecycle.applications import Applications
from pintag.serve.observability.logs import format_output_like_the_file, log

FOLLOWER = "follower"
# Seconds within which a replica that runs must answer which bundle it has.
_TIMEOUT_S = 30.0
# Seconds until a store that cannot be reached is tried again.
_PAUSE_S = 5.0


class FollowerConfig(Strict):
    """The deployment of the follower. It only waits, so it reserves no processor."""

    resources: dict[str, float] = Field(default_factory=dict)
    """Resources of Ray that its node must have: a node where the registry can be read."""


class FollowerArgs(ServeConfig):
    """The arguments of the application: a registry, and how to serve its versions."""

    bundle: str
    """The folder or URI of the registry."""
    follower: FollowerConfig = FollowerConfig()


@serve.deployment(max_surge_percent=0)
class Follower:
    """Serves the current version of a registry, and each version that becomes it."""

    def __init__(self, uri: str, settings: dict[str, Any]) -> None:
        """Deploy the current version, and return when it answers.

        If this process is a new one and a version of the registry already answers, that version
        stays until it is clear that the current one can be served.

        Args:
            uri: the folder or URI of the registry.
            settings: a `ServeConfig` as plain data.

        Raises:
            BundleError: there is no registry, or its current version cannot be served.
            ServerError: the replicas do not start.
        """
        format_output_like_the_file()
        config = ServeConfig.model_validate(settings)
        # Ray's calls wait, and this thread runs the event loop of the replica.
        with ThreadPoolExecutor(1) as pool:
            follow = pool.submit(_start, uri, config).result()
        threading.Thread(target=follow, name="follow", daemon=True).start()


def plan(config: ServeConfig, registry: str) -> PlannedApplication:
    """The application that serves the versions of a registry; `registry` is its folder or URI."""
    args = FollowerArgs(bundle=registry, **config.model_dump())
    return PlannedApplication(FOLLOWER, None, build, args)


def build(args: FollowerArgs | Mapping[str, Any]) -> Application:
    """The follower application, for `import_path: pintag.serve.lifecycle.follower:build`.

    Raises:
        ConfigError: the mapping, `args` in a configuration of Ray Serve, has wrong keys or values.
    """
    args = parsed(FollowerArgs, args, FOLLOWER)
    settings = args.model_dump(mode="json", exclude={"bundle", "follower"})
    options = {
        "ray_actor_options": {"num_cpus": 0, "resources": args.follower.resources},
        "logging_config": {"encoding": args.log.format.upper()},
    }
    # It is decorated by Ray, whose types are not checked here.
    deployment: Any = Follower
    application: Application = deployment.options(**options).bind(args.bundle, settings)
    return application


def _start(
    uri: str, config: ServeConfig, pause: Callable[[float], object] = time.sleep
) -> Callable[[], None]:
    """Deploy, and return the function that follows the registry; it never returns.

    While the store cannot be reached, this waits: Ray Serve would give up after three failures.
    """
    while True:
        try:
            return _deploy(uri, config)
        except DataError as error:
            log.warning("%s; trying again in %g s", error, _PAUSE_S)
            pause(_PAUSE_S)


def _deploy(uri: str, config: ServeConfig) -> Callable[[], None]:
    registry = rollout.registry(uri)
    serving = _answering(registry) or registry.resolve()
    bundle = served_bundle.checked(config, serving)
    config = served_bundle.with_candidate(config, bundle, log.warning)
    applications = Applications(config, log.warning, is_repeatable=True)
    applications.deploy(serving)
    applications.start_candidate(serving)
    check = functools.partial(served_bundle.checked, config)
    return functools.partial(
        rollout.follow, registry, serving, check, applications.deploy, log.warning
    )


def _answering(registry: Registry) -> str:
    """The URI of the registry's version that replicas answer with; empty if there is none."""
    if CLASSIFIER in serve.status().applications:
        # No replica may be up, or it may have a bundle from elsewhere.
        with contextlib.suppress(PintagError, RayServeException, TimeoutError):
            return registry.find(last_name(asyncio.run(_served())))
    return ""


async def _served() -> str:
    """The URI of the bundle that the classifier has."""
    async with asyncio.timeout(_TIMEOUT_S):
        uri: str = await DeploymentHandle("Classifier", CLASSIFIER).uri.remote()
    return uri
