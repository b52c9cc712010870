"""An application that runs when clients can reach the others: KubeRay then moves the traffic.

KubeRay sends the traffic to a new cluster as soon as all its applications run. The proxy of a node
starts only after the first replica there, and Kubernetes sends nothing to a pod before its probe
has succeeded: for a second, nobody would answer. So the chart adds this application, which runs
last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.schema import ApplicationStatus, ProxyStatus, ServeStatus

from pintag.serve.app import CLASSIFIER

READINESS = "readiness"
# The proxy of a node starts within a second after a replica, and the probe is sent each second.
_STEADY_S = 5.0
_PAUSE_S = 0.5
# It must not keep a worker that could be removed. Each head has this resource.
_ON_THE_HEAD = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}


@serve.deployment(ray_actor_options=_ON_THE_HEAD)
class Readiness:
    """Starts when clients can reach the other applications, and does nothing afterwards."""

    def __init__(self) -> None:
        """Wait, for as long as it takes: what cannot be reached must get no traffic."""
        # Ray's calls wait, and this thread runs the event loop of the replica.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(wait).result()


def build(_: Mapping[str, Any]) -> Application:
    """The application, for `import_path: pintag.serve.lifecycle.readiness:build`."""
    # It is decorated by Ray, whose types are not checked here.
    deployment: Any = Readiness
    application: Application = deployment.bind()
    return application


def wait(
    status: Callable[[], ServeStatus] = serve.status, pause: Callable[[float], object] = time.sleep
) -> None:
    """Return when `status` has been `is_reachable` for some seconds in a row."""
    steady_s = 0.0
    while steady_s < _STEADY_S:
        pause(_PAUSE_S)
        steady_s = steady_s + _PAUSE_S if is_reachable(status()) else 0.0


def is_reachable(status: ServeStatus) -> bool:
    """Whether all other applications run, the classifier among them, and each proxy answers."""
    others = {name: each.status for name, each in status.applications.items() if name != READINESS}
    return (
        CLASSIFIER in others
        and set(others.values()) == {ApplicationStatus.RUNNING}
        and set(status.proxies.values()) == {ProxyStatus.HEALTHY}
    )
