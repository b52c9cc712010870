"""The rules for `/-/healthz`: load balancers send uploads to nodes that answer 200.

Ray answers 200 while any application has a server that is up, and its own proxy is one: it takes
uploads before there is a replica, which then end with 504.

Standard library only: see main.py.
"""

from __future__ import annotations

import re

from .answers import NOT_RUNNING
from .limits import CLASSIFIER
from .problems import reply

_RAYS_ANSWER = re.compile(
    r"^( *)http-request return status (?:200|503) .* if healthcheck.*\n", re.M
)
# Ray drains a node by an answer with its own words.
_DRAINING = re.compile(r"^ *# Override: force health checks to fail", re.M)


def require_replicas(text: str) -> str:
    """Answer 200 only while a replica of the classifier is up, and else that the server starts."""
    found = _RAYS_ANSWER.search(text)
    if not found or _DRAINING.search(text):
        return text
    rules = "".join(f"{found[1]}{rule}\n" for rule in _rules(text))
    begin = found.start()
    return text[:begin] + rules + _RAYS_ANSWER.sub("", text[begin:])


def _rules(text: str) -> list[str]:
    _, _, backend = text.partition(f"\nbackend {CLASSIFIER}\n")
    servers = re.findall(
        r"^ +server (SERVE_REPLICA_\S+)", re.split(r"^\S", backend, flags=re.M)[0], re.M
    )
    up = [f"acl pintag_is_up srv_is_up({CLASSIFIER}/{server})" for server in servers]
    healthy = "http-request return status 200 content-type text/plain string success"
    return [
        *up,
        *([f"{healthy} if healthcheck pintag_is_up"] if up else []),
        f"http-request return {reply(*NOT_RUNNING)} if healthcheck",
    ]
