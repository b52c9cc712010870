"""The settings of the rules that pintag adds to the HAProxy configuration that Ray writes.

Standard library only: see main.py.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

# The names in release 0.1. They are still read until 0.3.
_RENAMED = {
    "PINTAG_MAX_ONGOING_REQUESTS": "PINTAG_MOST",
    "PINTAG_BODY_TIMEOUT_S": "PINTAG_BODY_SECONDS",
    "PINTAG_ANSWER_TIMEOUT_S": "PINTAG_ANSWER_SECONDS",
}

# A node that acknowledges no data for this many seconds is given up. A replica that hangs, and
# takes no more of a large body, looks the same.
DEAD_NODE_S = 5


@dataclass(frozen=True)
class IngressSettings:
    """The settings of the rules. `pintag serve` passes them as variables, before Ray starts."""

    host: str = ""
    """The address that HAProxy's own metrics and pages listen on; empty: all."""
    max_ongoing_requests: int = 0
    """Requests for tags that each replica admits; more are refused. 0: none is refused."""
    body_timeout_s: float = 60.0
    answer_timeout_s: float = 0.0
    """A replica that has not answered a request for tags after this time hangs: a healthy one is
    faster. 0: Ray's default."""
    deadline_s: float = 0.0
    """The same for a request that can be sent again, which is shorter. 0: the one above."""
    explanation_timeout_s: float = 0.0
    """The limit for an explanation."""
    max_image_bytes: int = 0
    """A longer body with one image is refused before it is sent. 0: no limit."""
    max_request_bytes: int = 0
    """The same for any body. 0: no limit."""
    max_connections: int = 0
    """Connections of one client address at once; more are closed. 0: no limit."""
    max_waiting_bodies: int = 0
    """Requests of one client address whose bodies have not arrived; more are refused, as are more
    large requests than a small share. 0: neither limit."""
    buffer_bytes: int = 16384
    """HAProxy's buffer. If a replica dies, a request that fits the buffer is sent again."""
    log_target: str = ""
    """The address that HAProxy sends its log to; empty: none."""
    root_path: str = ""
    """The path below which a proxy offers the server, and which it may leave in requests."""
    cors_origins: tuple[str, ...] = ()
    """The origins whose pages may read HAProxy's own answers; `*`: all."""
    has_metrics: bool = True
    """Whether HAProxy's own metrics can be read."""
    cluster: str = ""
    """The id of the Ray cluster; only its own replicas may answer. Empty: it is not known."""

    @classmethod
    def of(cls, variables: Mapping[str, str], cluster: str = "") -> IngressSettings:
        """Read environment variables; report old names on standard error.

        Raises:
            ValueError: a variable is not a number; the message names it.
        """

        def number(name: str, default: float = 0.0) -> float:
            return _number(variables, name, default, float)

        def count(name: str, default: int = 0) -> int:
            return int(_number(variables, name, default, int))

        return cls(
            host=variables.get("PINTAG_HOST", ""),
            max_ongoing_requests=count("PINTAG_MAX_ONGOING_REQUESTS"),
            body_timeout_s=number("PINTAG_BODY_TIMEOUT_S", 60),
            answer_timeout_s=number("PINTAG_ANSWER_TIMEOUT_S"),
            deadline_s=number("PINTAG_DEADLINE_S"),
            explanation_timeout_s=number("PINTAG_EXPLANATION_TIMEOUT_S"),
            max_image_bytes=count("PINTAG_MAX_IMAGE_BYTES"),
            max_request_bytes=count("PINTAG_MAX_REQUEST_BYTES"),
            max_connections=count("PINTAG_MAX_CONNECTIONS"),
            max_waiting_bodies=count("PINTAG_MAX_WAITING_BODIES"),
            buffer_bytes=count("RAY_SERVE_HAPROXY_TUNE_BUFSIZE", 16384),
            log_target=variables.get("RAY_SERVE_HAPROXY_LOG_TARGET", ""),
            root_path=variables.get("PINTAG_ROOT_PATH", ""),
            cors_origins=tuple(variables.get("PINTAG_CORS_ORIGINS", "").split()),
            has_metrics=bool(count("PINTAG_HAPROXY_METRICS", 1)),
            cluster=cluster,
        )


def _number(
    variables: Mapping[str, str], name: str, default: float, kind: type[int] | type[float]
) -> float:
    """The value of a variable, or of its old name; the default if it is missing or empty."""
    old = _RENAMED.get(name, name)
    if name not in variables and variables.get(old):
        print(f"The variable {old} is deprecated: use {name}", file=sys.stderr, flush=True)
        name = old
    text = variables.get(name) or str(default)
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    # Not a number, infinite or negative: HAProxy would not understand it.
    if not 0 <= number < math.inf:
        whole = "a whole number" if kind is int else "a number"
        raise ValueError(f"the variable {name} is {text!r}: give {whole} from 0 on")
    return number
