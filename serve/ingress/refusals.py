"""Rules that answer requests that no application handles: WebSockets, CONNECT, HTTP/2, and
targets without a path.

Standard library only: see main.py.
"""

from __future__ import annotations

from .problems import ID_HEADER, reply

# The methods of all paths together, which `OPTIONS *` asks for.
_ALLOW = 'hdr Allow "GET, HEAD, OPTIONS, POST"'
NO_WEBSOCKETS = "the server has no WebSockets; send plain HTTP requests"


def refuse_http_2() -> list[str]:
    """Refuse HTTP/2 without TLS, which HAProxy recognises by itself.

    Its requests need no length, so they would reach replicas before their bodies, and one
    connection has a hundred of them.
    """
    answer = (505, "http_version", "HTTP/2 without TLS is not accepted; send HTTP/1.1")
    return [f"http-request return {reply(*answer)} if {{ req.ver -m beg 2 }}"]


def answer_what_has_no_path() -> list[str]:
    """Answer `OPTIONS *`, and refuse CONNECT, other targets without a path, and WebSockets."""
    connect = (405, "method_not_allowed", "the server is not a proxy: it has no method CONNECT")
    no_path = (400, "bad_request", "the target of the request is not a path; it must begin with /")
    websocket = (400, "bad_request", NO_WEBSOCKETS)
    return [
        f"http-request return status 204 {_ALLOW} {ID_HEADER} "
        "if { method OPTIONS } { url -m str * }",
        f"http-request return {reply(*connect)} {_ALLOW} if {{ method CONNECT }}",
        f"http-request return {reply(*no_path)} if !{{ path_beg / }}",
        f"http-request return {reply(*websocket)} if {{ req.hdr(upgrade) -m beg -i websocket }}",
    ]
