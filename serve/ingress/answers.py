"""Rules that make every error a problem of RFC 9457 with a request id.

HAProxy and Ray have error pages of their own, in plain text. Clients of the API get none of them.

Standard library only: see main.py.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from .settings import DEAD_NODE_S, IngressSettings

# The request's id, which `identify_requests` sets.
_ID_HEADER = "hdr X-Request-ID %[var(txn.pintag_id)]"
# No application: it is not running yet, or not any more, or a HAProxy that is being replaced does
# not know it.
NOT_RUNNING = (503, "starting", "the server is starting or stopping; try again in a second")
_FAILED = (500, "internal", "the server failed; see its log for the reason")
_DEADLINE = (504, "deadline", "no replica answered in time; try again")
_UNAVAILABLE = (503, "unavailable", "no replica can answer at the moment; try again")
_MALFORMED = (400, "bad_request", "the request is not valid HTTP")
_CUT_OFF = (502, "bad_gateway", "a replica ended during its answer; try again")
_OVERLOADED = (503, "overloaded", "the limit of requests in flight is reached; try again")
# What Ray's own answers mean, by their status. Pintag's code writes none of them.
_RAYS_ANSWERS = {
    400: _MALFORMED,
    # Ray's proxy does not know the application.
    404: NOT_RUNNING,
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
# The methods of all paths together, which `OPTIONS *` asks for.
_ALLOW = 'hdr Allow "GET, HEAD, OPTIONS, POST"'


# The status that a problem names, if HAProxy would send another one.
_STATUS_HEADER = "x-pintag-status"
# The problems of pintag's own code.
_PROBLEM = "{ res.hdr(content-type) -m beg application/problem+json }"


def reply(status: int, kind: str, detail: str, *headers: str) -> str:
    """The arguments of `return` and `http-error`: a problem like those of the API itself.

    Args:
        headers: names and values in HAProxy's log format, such as `Retry-After 1`.
    """
    if status == HTTPStatus.SERVICE_UNAVAILABLE and not headers:
        headers = ("Retry-After 1",)
    quoted = json.dumps(problem(status, kind, detail), separators=(",", ":")).replace('"', '\\"')
    return _reply(status, f'string "{quoted}"', *headers)


def _reply(status: int, body: str, *headers: str) -> str:
    added = " ".join([*(f"hdr {header}" for header in headers), _ID_HEADER])
    return f"status {status} content-type application/problem+json {body} {added}"


def problem(status: int, kind: str, detail: str) -> dict[str, str | int]:
    """A problem of RFC 9457 as plain data."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "kind": kind,
    }


def own_errors(settings: IngressSettings) -> list[str]:
    """HAProxy's own errors."""
    late = f"the body did not arrive within {settings.body_timeout_s:g} s"
    errors = (_MALFORMED, (408, "late_body", late), _FAILED, _UNAVAILABLE, _DEADLINE)
    return [
        "unique-id-format %[uuid]",
        *(f"http-error {reply(*error)}" for error in errors),
        f"http-error {_broken_off(settings)}",
    ]


def _broken_off(settings: IngressSettings) -> str:
    """The answer if a replica's connection broke, so that the request cannot be sent again.

    HAProxy answers 502 to all of these. If the replica had taken nothing for a long time, it hangs,
    and the answer is the 504 of other replicas that hang: `tell_hanging_replicas` sets the status.
    """
    # A little less, as the operating system measures this time from a later moment.
    milliseconds = int(800 * min(DEAD_NODE_S, settings.answer_timeout_s or DEAD_NODE_S))
    hangs = f"date(0,ms),sub(txn.pintag_chosen),div({milliseconds}),bool"
    late, cut_off = problem(*_DEADLINE), problem(*_CUT_OFF)
    one = {key: f"%[{hangs},iif({late[key]},{cut_off[key]})]" for key in late}
    status = one["status"]
    text = json.dumps(one, separators=(",", ":")).replace(f'"{status}"', status)
    return _reply(502, f"lf-string '{text}'", f"{_STATUS_HEADER} {status}")


def tell_hanging_replicas() -> list[str]:
    """Set the status of `_broken_off`; the first rule comes when the body has arrived."""
    return [
        "http-request set-var(txn.pintag_chosen) date(0,ms)",
        f"http-after-response set-status 504 if {{ res.hdr({_STATUS_HEADER}) 504 }}",
        f"http-after-response del-header {_STATUS_HEADER}",
    ]


def identify_requests() -> list[str]:
    """Give each request an X-Request-ID, also in place of one that Ray's code cannot decode."""
    return [
        r"http-request set-header x-request-id %[unique-id] "
        r"if !{ req.fhdr(x-request-id) -m reg ^[\ -~]{1,256}$ }",
        "http-request set-var(txn.pintag_id) req.fhdr(x-request-id)",
    ]


def answer_what_has_no_path() -> list[str]:
    """Answer requests that are none for an application: no replica would, or not as HTTP."""
    websocket = (400, "bad_request", "the server has no WebSockets; send plain HTTP requests")
    connect = (405, "method_not_allowed", "the server is no proxy: it has no method CONNECT")
    no_path = (400, "bad_request", "the target of the request is no path; it must begin with /")
    return [
        f"http-request return status 204 {_ALLOW} {_ID_HEADER} "
        "if { method OPTIONS } { url -m str * }",
        f"http-request return {reply(*connect)} {_ALLOW} if {{ method CONNECT }}",
        f"http-request return {reply(*no_path)} if !{{ path_beg / }}",
        f"http-request return {reply(*websocket)} if {{ req.hdr(upgrade) -m beg -i websocket }}",
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


def refuse_http_2() -> list[str]:
    """Refuse HTTP/2 without TLS, which HAProxy recognises by itself.

    Its requests need no length, so they would reach replicas before their bodies, and one
    connection has a hundred of them.
    """
    answer = (505, "http_version", "HTTP/2 without TLS is not accepted; send HTTP/1.1")
    return [f"http-request return {reply(*answer)} if {{ req.ver -m beg 2 }}"]


def replace_rays_answers() -> list[str]:
    """Replace errors that are no problems: Ray, its proxy or its HTTP server wrote them."""
    ray = f"!{_PROBLEM}"
    rules = [
        f"http-response return {reply(*answer)} if {{ status {status} }} {ray}"
        for status, answer in _RAYS_ANSWERS.items()
    ]
    return [*rules, f"http-response return {reply(*_FAILED)} if {{ status ge 500 }} {ray}"]


def no_application() -> str:
    """The answer while no application runs, in place of Ray's 404."""
    return f"http-request return {reply(*NOT_RUNNING)}"


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


def close_late_uploads() -> list[str]:
    """Send a replica's 408 as HAProxy's own: then HAProxy closes the connection at once.

    After an answer of a replica it would wait for the rest of the body, and the request would count
    until the client's own time limit has passed.
    """
    late = f"{{ status 408 }} {_PROBLEM}"
    return [
        f"http-response wait-for-body time 1s if {late}",
        f"http-response set-var(txn.pintag_late) res.body if {late}",
        f"http-response return {_reply(408, 'lf-string %[var(txn.pintag_late)]')} if {late}",
    ]
