"""The bundle that is served: whether it can be, and whether a candidate differs from it."""

from __future__ import annotations

import contextlib

from pintag.core.errors import BundleError, DataError, ServerError
from pintag.core.store import absolute
from pintag.core.types import Notify
from pintag.models import remote
from pintag.models.bundle import ModelBundle
from pintag.models.registry import Registry
from pintag.serve.config import ServeConfig
from pintag.serve.deployment_config import CandidateConfig


def checked(config: ServeConfig, uri: str) -> ModelBundle:
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
            notify(f"candidate.bundle={uri} is not a candidate: this version is served")
            return without_candidate(config)
    return config.model_copy(update={"candidate": candidate.model_copy(update={"bundle": uri})})


def is_candidate(config: ServeConfig, uri: str) -> bool:
    """Whether the bundle at `uri` has the version of the candidate."""
    candidate = config.candidate.bundle
    if candidate is None:
        return False
    with contextlib.suppress(BundleError, DataError):
        return remote.load(candidate).manifest.version == remote.load(uri).manifest.version
    return False


def without_candidate(config: ServeConfig) -> ServeConfig:
    """The configuration of a server whose candidate has ended."""
    return config.model_copy(update={"candidate": CandidateConfig()})
