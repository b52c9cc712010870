"""Ends what a server has started on Ray: its applications, Ray Serve, and a local cluster."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

from pintag.cluster import failures, local_node, ray_variables
from pintag.core.errors import ClusterError
from pintag.core.types import Notify
from pintag.serve.config import ServeConfig
from pintag.serve.ingress import installation

_POLL_INTERVAL_S = 0.2
# Ray looks at its replicas twice a second, and kills those that are late itself.
_SPARE_S = 10.0
# Ray's state of a replica that never had a request.
_STARTING = "STARTING"
# And that of an application that ends.
_DELETING = "DELETING"


def disconnect(config: ServeConfig, notify: Notify, *, is_shared: bool = True) -> None:
    """Stop what `run` started: if others use Ray Serve on the cluster, only its applications.

    Otherwise Ray Serve would keep the server's port, and its controller the head: a node does not
    drain while an actor runs on it.

    Args:
        notify: called with a line of text if requests may have got no answer.
        is_shared: whether Ray Serve ran before.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        # Hide a message of Ray: the controller is dead. Ray has just stopped it itself.
        with contextlib.redirect_stdout(io.StringIO()):
            _end_serve(config, is_shared=is_shared)
    # Whatever has failed: Ray has to end, too.
    except Exception as error:
        is_lost = isinstance(error, ClusterError)
        reason = "Ray's processes ended first" if is_lost else failures.reason(error)
        notify(f"requests in flight may have got no answer: {reason}")
    finally:
        _leave_ray()


def _end_serve(config: ServeConfig, *, is_shared: bool) -> None:
    from ray import serve
    from ray.serve.exceptions import RayServeException

    # The reason is known already.
    if local_node.has_ended():
        return
    with local_node.watched():
        # An error means that Serve has not started, so there are no replicas.
        with contextlib.suppress(RayServeException):
            _end_applications(config.draining_s)
            is_shared = is_shared or bool(_running_applications())
        if ray_variables.is_local() or not is_shared:
            serve.shutdown()


def _end_applications(limit_s: float) -> None:
    """End the server's applications; replicas answer their requests before they stop.

    Args:
        limit_s: the time after which Ray itself kills the replicas.

    Raises:
        TimeoutError: replicas still run.
    """
    from ray import serve

    answering = {
        name for replicas in _replicas().values() for name, state in replicas if state != _STARTING
    }
    for application in _replicas():
        serve.delete(application, _blocking=False)
    end = time.monotonic() + limit_s + _SPARE_S
    while running := _replicas():
        # The others wait for a node, or load their model: they would stop when they have started.
        _kill({name for replicas in running.values() for name, _ in replicas} - answering)
        if time.monotonic() > end:
            raise TimeoutError(f"{', '.join(sorted(running))} did not stop in {limit_s:g} s")
        time.sleep(_POLL_INTERVAL_S)


def _replicas() -> dict[str, list[tuple[str, str]]]:
    """The actors and states of the replicas of each of the server's applications that runs."""
    from pintag.serve.app import CLASSIFIER, EXPLAINER
    from pintag.serve.deployments.candidate import CANDIDATE

    return {
        name: [
            (replica["actor_name"], replica["state"])
            for deployment in application["deployments"].values()
            for replica in deployment["replicas"]
        ]
        for name, application in _running_applications().items()
        if name in (CANDIDATE, EXPLAINER, CLASSIFIER)
    }


def _running_applications() -> dict[str, Mapping[str, Any]]:
    """What Ray Serve runs, of anybody, by name.

    An application that ends and has no deployment left runs no more: Ray may list it for minutes.
    """
    from ray.serve.context import _get_global_client

    applications = _get_global_client().get_serve_details()["applications"]
    return {
        name: application
        for name, application in applications.items()
        if application["status"] != _DELETING or application["deployments"]
    }


def _kill(actors: Collection[str]) -> None:
    import ray
    from ray.serve._private.constants import SERVE_NAMESPACE

    for name in actors:
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(name, SERVE_NAMESPACE))


def _leave_ray() -> None:
    import ray

    from pintag.serve.auth import actor_limiter

    if not ray_variables.is_local() and ray.is_initialized():
        actor_limiter.shut_down()
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
    local_node.shut_down()
    if node and ray_variables.is_local():
        installation.remove_folder(node)
