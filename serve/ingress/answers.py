"""Rules that make every error a problem of RFC 9457 with a request id.

HAProxy and Ray have error pages of their own, in plain text. Clients of the API get none of them.

Standard library only: see main.py.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from .settings import IngressSettings

# The request's id, which `identify_requests` sets.
_ID_HEADER = "hdr X-Request-ID %[var(txn.pintag_id)]"
_STARTING = (503, "starting", "the server is starting; try again")
_FAILED = (500, "internal", "the server failed; see its log for the reason")
_DEADLINE = (504, "deadline", "no replica answered in time; try again")
_UNAVAILABLE = (503, "unavailable", "no replica can answer at the moment; try again")
_MALFORMED = (400, "bad_request", "the request is not valid HTTP")
_CUT_OFF = (502, "bad_gateway", "a replica ended during its answer; try again")
_OVERLOADED = (503, "overloaded", "the limit of requests in flight is reached; try again")
# What Ray's own answers mean, by their status. Pintag's code writes none of them.
_RAYS_ANSWERS = {
    400: _MALFORMED,
    # Ray's proxy does not know the application, because it is not running yet.
    404: _STARTING,
    408: _DEADLINE,
    # A replica of another cluster has answered: see identity.py.
    425: _UNAVAILABLE,
    429: _OVERLOADED,
    502: _CUT_OFF,
    503: _UNAVAILABLE,
    504: _DEADLINE,
}
# Headers by which a client could control Ray, as Ray's code reads them. It accepts - as _.
RAYS_HEADERS = (
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "x-session-id",
    "x_session_id",
    "serve-multiplexed-model-id",
    "serve_multiplexed_model_id",
)
CLUSTER_HEADER = "x-pintag-cluster"


def reply(status: int, kind: str, detail: str, *headers: str) -> str:
    """The arguments of `return` and `http-error`: a problem like those of the API itself.

    Args:
        headers: names and values in HAProxy's log format, such as `Retry-After 1`.
    """
    if status == HTTPStatus.SERVICE_UNAVAILABLE and not headers:
        headers = ("Retry-After 1",)
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "kind": kind,
    }
    quoted = json.dumps(problem, separators=(",", ":")).replace('"', '\\"')
    added = " ".join([*(f"hdr {header}" for header in headers), _ID_HEADER])
    return f'status {status} content-type application/problem+json string "{quoted}" {added}'


def own_errors(settings: IngressSettings) -> list[str]:
    """HAProxy's own errors."""
    late = f"the body did not arrive within {settings.body_timeout_s:g} s"
    errors = (_MALFORMED, (408, "late_body", late), _FAILED, _CUT_OFF, _UNAVAILABLE, _DEADLINE)
    return ["unique-id-format %[uuid]", *(f"http-error {reply(*error)}" for error in errors)]


def identify_requests() -> list[str]:
    """Give each request an X-Request-ID, also in place of one that Ray's code cannot decode."""
    return [
        r"http-request set-header x-request-id %[unique-id] "
        r"if !{ req.fhdr(x-request-id) -m reg ^[\ -~]{1,256}$ }",
        "http-request set-var(txn.pintag_id) req.fhdr(x-request-id)",
    ]


def hide_rays_headers() -> list[str]:
    """Delete the headers that Ray obeys: a client could cancel its request, or fail it with 500."""
    return [
        *(f"http-request del-header {name}" for name in RAYS_HEADERS),
        # Ray decodes them as UTF-8 if requests are traced.
        *(
            rf"http-request del-header {name} if {{ req.fhdr({name}) -m found }} "
            rf"!{{ req.fhdr({name}) -m reg ^[\ -~]*$ }}"
            for name in ("traceparent", "tracestate")
        ),
    ]


def refuse_websockets() -> list[str]:
    """Refuse what asks for a WebSocket: a replica would answer 403, without a body."""
    problem = reply(400, "bad_request", "there are no WebSockets here; send an ordinary request")
    return [f"http-request return {problem} if {{ req.hdr(upgrade) -i websocket }}"]


def replace_rays_answers() -> list[str]:
    """Replace errors that are no problems: Ray, its proxy or its HTTP server wrote them."""
    ray = "!{ res.hdr(content-type) -m beg application/problem+json }"
    rules = [
        f"http-response return {reply(*answer)} if {{ status {status} }} {ray}"
        for status, answer in _RAYS_ANSWERS.items()
    ]
    return [*rules, f"http-response return {reply(*_FAILED)} if {{ status ge 500 }} {ray}"]


def no_application() -> str:
    """The answer while no application runs, in place of Ray's 404."""
    return f"http-request return {reply(*_STARTING)}"


def accept_own_replicas_only(settings: IngressSettings) -> list[str]:
    """Never pass on an answer of another cluster, which may have taken a port on this machine."""
    if not settings.cluster:
        return []
    own = f"{{ res.hdr({CLUSTER_HEADER}) -m str {settings.cluster} }}"
    return [
        f"http-request set-header {CLUSTER_HEADER} {settings.cluster}",
        f"http-response return {reply(*_UNAVAILABLE)} if !{own}",
        f"http-response del-header {CLUSTER_HEADER}",
    ]
