"""Rules that put problems in place of the errors that HAProxy, Ray and its HTTP server write.

Those errors are plain text; a client of the API always gets a problem instead.

Standard library only: see main.py.
"""

from __future__ import annotations

import json

from .problems import members, reply, reply_with
from .settings import DEAD_NODE_S, IngressSettings

LATE = "no replica answered in time; try again"
# No application: it is not running yet, or not any more, or a HAProxy that is being replaced does
# not know it.
NOT_RUNNING = (503, "starting", "the server is starting or stopping; try again in a second")
_FAILED = (500, "internal", "the server failed; see its log for the reason")
_DEADLINE = (504, "deadline", LATE)
UNAVAILABLE = (503, "unavailable", "no replica can answer at the moment; try again")
_MALFORMED = (400, "bad_request", "the request is not valid HTTP")
# With `abortonclose` HAProxy takes a client that sends nothing more for one that has left.
_LEFT_OR_MALFORMED = (
    400,
    "bad_request",
    "the request is not valid HTTP, or the client closed its side of the connection before the "
    "answer",
)
CUT_OFF = "a replica ended during its answer; try again"
_CUT_OFF = (502, "bad_gateway", CUT_OFF)
_OVERLOADED = (503, "overloaded", "the limit of requests in flight is reached; try again")
# What Ray's own answers mean, by their status. Pintag's code writes none of them.
_RAYS_ANSWERS = {
    400: _MALFORMED,
    # Ray's proxy does not know the application.
    404: NOT_RUNNING,
    408: _DEADLINE,
    # A replica of another cluster has answered: see identity.py.
    425: UNAVAILABLE,
    429: _OVERLOADED,
    502: _CUT_OFF,
    503: UNAVAILABLE,
    504: _DEADLINE,
}
# The status that a problem names, if HAProxy would send another one.
_STATUS_HEADER = "x-pintag-status"
# The problems of pintag's own code.
_PROBLEM = "{ res.hdr(content-type) -m beg application/problem+json }"


def own_errors(settings: IngressSettings) -> list[str]:
    """HAProxy's own errors."""
    late = f"the body did not arrive within {settings.body_timeout_s:g} s"
    errors = (_LEFT_OR_MALFORMED, (408, "late_body", late), _FAILED, UNAVAILABLE, _DEADLINE)
    return [
        "unique-id-format %[uuid]",
        *(f"http-error {reply(*error)}" for error in errors),
        f"http-error {_broken_off(settings)}",
    ]


def _broken_off(settings: IngressSettings) -> str:
    """The answer if a replica's connection broke, so that the request cannot be sent again.

    HAProxy answers 502 to all of these. If the replica had taken nothing for a long time, it hangs,
    and the answer is the 504 of other replicas that hang: `set_status_of_hanging_replicas` sets it.
    """
    # A little less, as the operating system measures this time from a later moment.
    milliseconds = int(800 * min(DEAD_NODE_S, settings.answer_timeout_s or DEAD_NODE_S))
    hangs = f"date(0,ms),sub(txn.pintag_chosen),div({milliseconds}),bool"
    late, cut_off = members(*_DEADLINE), members(*_CUT_OFF)
    one = {key: f"%[{hangs},iif({late[key]},{cut_off[key]})]" for key in late}
    status = one["status"]
    text = json.dumps(one, separators=(",", ":")).replace(f'"{status}"', status)
    return reply_with(502, f"lf-string '{text}'", f"{_STATUS_HEADER} {status}")


def set_status_of_hanging_replicas() -> list[str]:
    """Set the status of `_broken_off`; the first rule comes when the body has arrived."""
    return [
        "http-request set-var(txn.pintag_chosen) date(0,ms)",
        f"http-after-response set-status 504 if {{ res.hdr({_STATUS_HEADER}) 504 }}",
        f"http-after-response del-header {_STATUS_HEADER}",
    ]


def replace_rays_answers() -> list[str]:
    """Replace errors that are not problems: Ray, its proxy or its HTTP server wrote them."""
    ray = f"!{_PROBLEM}"
    rules = [
        f"http-response return {reply(*answer)} if {{ status {status} }} {ray}"
        for status, answer in _RAYS_ANSWERS.items()
    ]
    return [*rules, f"http-response return {reply(*_FAILED)} if {{ status ge 500 }} {ray}"]


def no_application() -> str:
    """The answer while no application runs, in place of Ray's 404."""
    return f"http-request return {reply(*NOT_RUNNING)}"


def close_late_uploads() -> list[str]:
    """Send a replica's 408 as HAProxy's own: then HAProxy closes the connection at once.

    After an answer of a replica it would wait for the rest of the body, and the request would count
    until the client's own time limit has passed.
    """
    late = f"{{ status 408 }} {_PROBLEM}"
    return [
        f"http-response wait-for-body time 1s if {late}",
        f"http-response set-var(txn.pintag_late) res.body if {late}",
        f"http-response return {reply_with(408, 'lf-string %[var(txn.pintag_late)]')} if {late}",
    ]
