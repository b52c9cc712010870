"""Deploys the applications: replaces the served bundle, and starts a candidate beside it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Iterator
from typing import Any

from pintag.core.errors import PintagError, ServerError
from pintag.core.store import last_name
from pintag.core.types import Notify
from pintag.serve.config import ServeConfig
from pintag.serve.lifecycle import replica_failure, served_bundle

# Seconds within which a candidate's replica that runs must answer which model it has.
_CANDIDATE_TIMEOUT_S = 30.0


class Applications:
    """The applications on Ray: the served bundle, and a candidate until it is served itself."""

    def __init__(self, config: ServeConfig, notify: Notify, *, is_repeatable: bool = False) -> None:
        """Nothing is deployed yet.

        Args:
            config: with the URI of the candidate's bundle, see `served_bundle.with_candidate`.
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
        if is_promoted := served_bundle.is_candidate(config, uri):
            config = served_bundle.without_candidate(config)
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
            self._notify(f"{last_name(uri)} is not a candidate any more: it is served now")

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


def _set_version(application: Any, args: str) -> None:
    """Give a deployment a version that depends on its arguments: Ray's would be random."""
    version = hashlib.sha256(args.encode()).hexdigest()[:16]
    deployment = application._bound_deployment
    application._bound_deployment = deployment.options(version=version, _internal=True)
