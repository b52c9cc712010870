"""Rules that let pages of other origins read what HAProxy itself answers, such as a 503.

Replicas add these headers to their own answers.

Standard library only: see main.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from .settings import IngressSettings

_ORIGIN = "txn.pintag_origin"
_VALUE = f"%[var({_ORIGIN})]"
_ALLOWED = "Access-Control-Allow-Origin"


def headers(origins: Sequence[str], origin: str) -> dict[str, str]:
    """The headers of an answer to a page of this origin; none if it is not allowed."""
    if "*" in origins:
        return _headers("*") if origin else {}
    return {"Vary": "Origin", **_headers(origin)} if origin in origins else {}


def allow_origins(settings: IngressSettings) -> list[str]:
    """HAProxy's rules for the same. They come before any rule that answers a request."""
    origins = settings.cors_origins
    if not origins:
        return []
    is_allowed = "-m found" if "*" in origins else f"-m str {' '.join(origins)}"
    added = headers((_VALUE,), _VALUE) if "*" not in origins else headers("*", _VALUE)
    # The header that the condition looks for is the last one.
    condition = f"if {{ var({_ORIGIN}) -m found }} !{{ res.hdr({_ALLOWED}) -m found }}"
    return [
        f"http-request set-var({_ORIGIN}) req.hdr(origin) if {{ req.hdr(origin) {is_allowed} }}",
        *(
            f'http-after-response set-header {name} "{text}" {condition}'
            for name, text in added.items()
        ),
    ]


def _headers(allowed: str) -> dict[str, str]:
    return {"Access-Control-Expose-Headers": "Retry-After, X-Request-ID", _ALLOWED: allowed}
