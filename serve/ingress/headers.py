"""Rules for the headers of requests: each has an id, and none controls Ray or breaks it.

Standard library only: see main.py.
"""

from __future__ import annotations

# Headers by which a client could control Ray, as Ray's code reads them. It accepts - as _.
RAYS_HEADERS = (
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "x-session-id",
    "x_session_id",
    "serve-multiplexed-model-id",
    "serve_multiplexed_model_id",
)


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
