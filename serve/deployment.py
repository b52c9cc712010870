"""Applications that are put up, one in the place of another, or on trial beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from pintag import remote
from pintag.errors import BundleError, ServerError
from pintag.labels import Labels
from pintag.registry import Registry
from pintag.store import absolute
from serve.config import ServeConfig

# Seconds that a candidate which has started may take to say what it is.
_PATIENCE = 30.0


def deploy(config: ServeConfig, place: str) -> None:
    """Serve a bundle, in the place of another one if there is one; back when it is healthy.

    A candidate stays as it is.

    Raises:
        ServerError: it does not become healthy; what was there before goes on answering.
    """
    from ray import serve

    from serve.candidate import CANDIDATE

    targets = _targets(config, place)
    targets.pop(CANDIDATE, None)
    try:
        # Both at once: most of a start is spent importing TensorFlow.
        serve.run_many([*targets.values()])
    except (RuntimeError, TimeoutError) as error:
        raise ServerError(f"the server does not start: {error}") from error


def with_candidate(config: ServeConfig, labels: Labels) -> ServeConfig:
    """The configuration, with the bundle on trial as replicas find it.

    Raises:
        BundleError: it is a registry without a current version.
        ServerError: it has other labels than these, those that are served.
    """
    tried = config.candidate
    if tried.bundle is None:
        return config
    place = Registry(absolute(tried.bundle)).resolve()
    # One that cannot be loaded is told by its replica, and not asked.
    with contextlib.suppress(BundleError):
        found = remote.load(place).labels
        if found.names != labels.names:
            raise ServerError(
                f"candidate.bundle={place} has the labels {', '.join(found)}, "
                f"and what serves has {', '.join(labels)}: they must be the same"
            )
    return config.model_copy(update={"candidate": tried.model_copy(update={"bundle": place})})


def try_candidate(config: ServeConfig, place: str, tell: Callable[[str], None]) -> None:
    """Start the candidate beside what serves, which goes on whatever becomes of it."""
    import ray
    from ray import serve
    from ray.exceptions import RayError

    from serve import candidate

    # In a process of its own: what Ray keeps of a handle would connect anew when this one ends.
    ask = ray.remote(num_cpus=0, max_calls=1)(candidate.ask)
    try:
        serve.run_many([_targets(config, place)[candidate.CANDIDATE]])
        found = ray.get(ask.remote(), timeout=_PATIENCE)
    except (RuntimeError, TimeoutError, RayError) as error:
        found = str(error)
    if isinstance(found, str):
        tell(f"the candidate is not asked, the server does without it: {found}")
    else:
        tried = config.candidate
        shares = f"candidate.shadow={tried.shadow:g}, candidate.canary={tried.canary:g}"
        tell(f"on trial: {found.name} {found.version} ({shares})")


def _targets(config: ServeConfig, place: str) -> dict[str, Any]:
    """What Ray is told to run, by its name."""
    from ray.serve import RunTarget

    from serve import app

    return {
        each.name: RunTarget(each.builder(each.args), each.name, each.route_prefix)
        for each in app.plan(config, place)
    }
