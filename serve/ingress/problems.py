"""How HAProxy's rules write a problem of RFC 9457, like those of the API itself.

Standard library only: see main.py.
"""

from __future__ import annotations

import json
from http import HTTPStatus

# The request's id, which `headers.identify_requests` sets.
ID_HEADER = "hdr X-Request-ID %[var(txn.pintag_id)]"


def reply(status: int, kind: str, detail: str, *headers: str) -> str:
    """The arguments of `return` and `http-error`: a problem like those of the API itself.

    Args:
        headers: names and values in HAProxy's log format, such as `Retry-After 1`.
    """
    if status == HTTPStatus.SERVICE_UNAVAILABLE and not headers:
        headers = ("Retry-After 1",)
    quoted = json.dumps(members(status, kind, detail), separators=(",", ":")).replace('"', '\\"')
    return reply_with(status, f'string "{quoted}"', *headers)


def reply_with(status: int, body: str, *headers: str) -> str:
    """The same with a body in HAProxy's words, such as `lf-string` and a format."""
    added = " ".join([*(f"hdr {header}" for header in headers), ID_HEADER])
    return f"status {status} content-type application/problem+json {body} {added}"


def members(status: int, kind: str, detail: str) -> dict[str, str | int]:
    """The members of a problem."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "kind": kind,
    }
