"""The rules for `/-/healthz`: load balancers send uploads to nodes that answer 200.

Ray answers 200 while any application has a server that is up, and its own proxy is one: it takes
uploads before there is a replica, which then end with 504.

All nodes of a cluster send uploads to the same replicas. If these are too busy to answer, no other
node can do better, and a cluster that then takes out node after node refuses everybody. So
`/-/healthz?node` judges the node alone.

Standard library only: see main.py.
"""

from __future__ import annotations

import re

from .answers import NOT_RUNNING
from .balancing import ANY_UP
from .limits import CLASSIFIER
from .problems import reply
from .sections import FRONTEND, Configuration, MissingMarkerError

_MARKER = "http-request return status"
_RAYS_ANSWER = re.compile(rf"{_MARKER} (?:200|503) .* if healthcheck.*")


def require_replicas(configuration: Configuration) -> None:
    """Answer 200 only while a replica of the classifier is up, and else that the server starts.

    With the query `node`: while Ray has a replica, and does not drain this node.

    Raises:
        MissingMarkerError: there are applications, but none of Ray's answers to health checks.
    """
    frontend = configuration.section(FRONTEND)
    lines = frontend.lines
    rays = [number for number, line in enumerate(lines) if _RAYS_ANSWER.fullmatch(line)]
    if not rays and configuration.applications():
        raise MissingMarkerError(f"no line `{_MARKER} …` below `{FRONTEND}`")
    # Ray drains a node by a 503 alone.
    if {lines[number].split()[3] for number in rays} - {"503"}:
        lines[rays[0] : rays[-1] + 1] = _rules(configuration)


def _rules(configuration: Configuration) -> list[str]:
    backend = configuration.applications().get(CLASSIFIER)
    replicas = backend.replicas if backend else []
    healthy = "http-request return status 200 content-type text/plain string success if healthcheck"
    return [
        *([f"{healthy} {ANY_UP}", f"{healthy} {{ query -m str node }}"] if replicas else []),
        f"http-request return {reply(*NOT_RUNNING)} if healthcheck",
    ]
