"""Deploys the applications: replaces the served bundle, and starts a candidate beside it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

from pintag.core.errors import BundleError, DataError, PintagError, ServerError
from pintag.core.store import absolute, last_name
from pintag.models import remote
from pintag.models.bundle import ModelBundle
from pintag.models.registry import Registry
from pintag.serve import replica_failure
from pintag.serve.config import ServeConfig
from pintag.serve.deployment_config import CandidateConfig

Notify = Callable[[str], None]

# Seconds within which a candidate's replica that runs must answer which model it has.
_CANDIDATE_TIMEOUT_S = 30.0


class Applications:
    """The applications on Ray: the served bundle, and a candidate until it is served itself."""

    def __init__(self, config: ServeConfig, notify: Notify, *, is_repeatable: bool = False) -> None:
        """Nothing is deployed yet.

        Args:
            config: with the URI of the candidate's bundle, see `with_candidate`.
            notify: called with a line of text for each event of the candidate.
            is_repeatable: replicas that already have a bundle and these settings stay. Otherwise
                Ray replaces them whenever the bundle is deployed.
        """
        self._config, self._notify = config, notify
        self._is_repeatable = is_repeatable

    def deploy(self, uri: str) -> None:
        """Serve a bundle, instead of the current one if there is one; return when it is healthy.

        A candidate with the same version ends. Any other candidate is not changed.

        Raises:
            ServerError: it does not become healthy; the old replicas keep answering.
        """
        from ray import serve

        from pintag.serve.deployments.candidate import CANDIDATE

        config = self._config
        if is_promoted := _is_candidate(config, uri):
            config = _without_candidate(config)
        targets = self._targets(config, uri)
        targets.pop(CANDIDATE, None)
        with server_errors(targets):
            # Start both at once: most of the time is spent importing TensorFlow.
            serve.run_many([*targets.values()])
        if is_promoted:
            self._config = config
            # Nothing calls it any more: if it cannot be deleted now, the end of the server does it.
            with contextlib.suppress(Exception):
                serve.delete(CANDIDATE)
            self._notify(f"{last_name(uri)} is no candidate any more: it is served now")

    def start_candidate(self, uri: str) -> None:
        """Start the candidate, if there is one, beside the bundle at `uri`; raise no failure."""
        import ray
        from ray import serve

        from pintag.serve.deployments import candidate

        if not self._config.candidate.bundle:
            return
        # In a separate process: in this one Ray's cached handle would connect again at the end.
        ask = ray.remote(num_cpus=0, max_calls=1)(candidate.fetch_info)
        try:
            serve.run_many([self._targets(self._config, uri)[candidate.CANDIDATE]])
            answer = ray.get(ask.remote(), timeout=_CANDIDATE_TIMEOUT_S)
        # The server works without a candidate, whatever it raises.
        except Exception as error:
            answer = replica_failure.reason(error, [candidate.CANDIDATE])
        if isinstance(answer, str):
            self._notify(f"the candidate gets no requests, the server runs without it: {answer}")
        else:
            settings = self._config.candidate
            shares = f"candidate.shadow={settings.shadow:g}, candidate.canary={settings.canary:g}"
            self._notify(f"the candidate is {answer.name} {answer.version} ({shares})")

    def _targets(self, config: ServeConfig, uri: str) -> dict[str, Any]:
        """Ray's run targets, by the name of the application."""
        from ray.serve import RunTarget

        from pintag.serve import app

        targets = {}
        for planned in app.plan(config, uri):
            application = planned.builder(planned.args)
            if self._is_repeatable:
                _set_version(application, planned.args.model_dump_json())
            targets[planned.name] = RunTarget(application, planned.name, planned.route_prefix)
        return targets


def checked_bundle(config: ServeConfig, uri: str) -> ModelBundle:
    """Load a bundle and verify it.

    Raises:
        BundleError: it is damaged, or has no model of the engine and precision in `config`.
        DataError: its store cannot be reached, or denies access.
    """
    bundle = remote.load(uri)
    bundle.choose(config.engine, config.precision)
    return bundle


def with_candidate(config: ServeConfig, served: ModelBundle, notify: Notify) -> ServeConfig:
    """The configuration, with the URI of the candidate's bundle in place of that of its registry.

    A candidate with the version of the served bundle is left out: it was rolled out.

    Raises:
        BundleError: the registry has no current version.
        ServerError: the candidate's labels are not those of the served bundle.
    """
    candidate = config.candidate
    if candidate.bundle is None:
        return config
    uri = Registry(absolute(candidate.bundle)).resolve()
    # A bundle that cannot be loaded is reported by its replica, and gets no requests.
    with contextlib.suppress(BundleError):
        bundle = remote.load(uri)
        if bundle.labels.names != served.labels.names:
            raise ServerError(
                f"candidate.bundle={uri} has the labels {', '.join(bundle.labels)}, and the "
                f"bundle that is served has {', '.join(served.labels)}: they must be the same"
            )
        if bundle.manifest.version == served.manifest.version:
            notify(f"candidate.bundle={uri} is no candidate: this version is served")
            return _without_candidate(config)
    return config.model_copy(update={"candidate": candidate.model_copy(update={"bundle": uri})})


@contextlib.contextmanager
def server_errors(applications: Collection[str] = ()) -> Iterator[None]:
    """Turn every error of Ray Serve, which has many kinds, into a `ServerError`.

    Args:
        applications: the names of those that the block deploys.

    Raises:
        ServerError: the block raised an error.
    """
    try:
        yield
    except PintagError:
        raise
    except Exception as error:
        reason = replica_failure.reason(error, applications)
        raise ServerError(f"the server does not start: {reason}") from error


def _is_candidate(config: ServeConfig, uri: str) -> bool:
    """Whether the bundle at `uri` has the version of the candidate."""
    candidate = config.candidate.bundle
    if candidate is None:
        return False
    with contextlib.suppress(BundleError, DataError):
        return remote.load(candidate).manifest.version == remote.load(uri).manifest.version
    return False


def _without_candidate(config: ServeConfig) -> ServeConfig:
    return config.model_copy(update={"candidate": CandidateConfig()})


def _set_version(application: Any, args: str) -> None:
    """Give a deployment a version that depends on its arguments: Ray's would be random."""
    version = hashlib.sha256(args.encode()).hexdigest()[:16]
    deployment = application._bound_deployment
    application._bound_deployment = deployment.options(version=version, _internal=True)
