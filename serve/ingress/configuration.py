"""The rules that pintag adds to the HAProxy configuration that Ray writes.

Ray's template has no variables for these rules. Each rule changes a line that Ray writes, its
marker. A missing marker is an error: another release of Ray may write other lines, and then HAProxy
would run without overload protection, and nobody would notice.

Standard library only: see main.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from . import answers, clients, headers, health, identity, limits, refusals
from .limits import CLASSIFIER
from .settings import DEAD_NODE_S, IngressSettings

EXPLAINER = "http-explainer"
_ERROR_PAGES = ("502", "503", "504")


class MissingMarkerError(ValueError):
    """Ray's configuration has no line that a rule must change."""


def patch(configuration: str, settings: IngressSettings) -> str:
    """The configuration with all rules added.

    Ray's first configuration has no applications. Rules for applications are added as soon as Ray
    writes one that has them.

    Raises:
        MissingMarkerError: a line that a rule must change is missing.
    """
    text = listen_on(configuration, settings.host)
    text = text if settings.has_metrics else remove_metrics(text)
    text = _insert(text, "stats timeout 30s", limits.counters())
    text = _insert(text, "option httplog", _defaults(settings))
    text = _insert(text, _public_bind(text), _for_every_request(settings))
    text = health.require_replicas(replace_error_pages(text))
    _check_backends(text)
    text = reach_local_servers(text, settings.host)
    text = notice_dead_nodes(prefer_idle_replicas(text))
    if _has_backend(text, EXPLAINER):
        text = _insert(text, f"backend {EXPLAINER}", limit_explanation_time(settings))
    if _has_backend(text, CLASSIFIER):
        text = _insert(text, f"backend {CLASSIFIER}", limits.limit_answers(settings))
        route = _classifier_route(text)
        rules = limits.refuse_overload(settings, route.rstrip("/"))
        text = _insert(text, f"acl is_{CLASSIFIER} path {route}", rules)
    return text + "\n" + limits.tables()


def _defaults(settings: IngressSettings) -> list[str]:
    return [
        *log_failures_only(settings),
        *probe_connections(),
        *limits.limit_heads(),
        *answers.own_errors(settings),
    ]


def _for_every_request(settings: IngressSettings) -> list[str]:
    return [
        *limits.limit_connections(settings),
        *remove_root_path(settings),
        *headers.identify_requests(),
        *refusals.refuse_http_2(),
        *refusals.answer_what_has_no_path(),
        *headers.hide_rays_headers(),
        *clients.name_clients(),
        *limits.wait_for_body(settings),
        *answers.tell_hanging_replicas(),
        *answers.replace_rays_answers(),
        *identity.accept_own_replicas_only(settings),
        *answers.close_late_uploads(),
    ]


def replace_error_pages(text: str) -> str:
    """Remove Ray's error pages, which HAProxy would send instead of the problems."""
    text, count = re.subn(r"^ *errorfile \d+ .*\n", "", text, flags=re.M)
    if count != len(_ERROR_PAGES):
        raise MissingMarkerError("no lines `errorfile`, one for each of " + ", ".join(_ERROR_PAGES))
    text, count = re.subn(
        r"^( *)http-request return status 404 content-type text/plain .*$",
        lambda match: match[1] + answers.no_application(),
        text,
        flags=re.M,
    )
    if not count:
        raise MissingMarkerError("no line `http-request return status 404`")
    return text


def limit_explanation_time(settings: IngressSettings) -> list[str]:
    """Give up a replica that does not explain in time, without another attempt.

    Another replica would take as long as the client has waited already.
    """
    rules = limits.limit_answer_time(settings.explanation_timeout_s)
    return [*rules, "retry-on conn-failure empty-response 425"] if rules else []


def listen_on(text: str, host: str) -> str:
    """Make HAProxy's metrics and pages listen on the server's address, not on every interface."""
    for section in ("frontend prometheus", "listen stats"):
        marker = rf"^({section}\n *bind )\*?(:\d+)$"
        if not re.search(marker, text, re.M):
            raise MissingMarkerError(f"no line `bind *:PORT` below `{section}`")
    if not host:
        return text
    return re.sub(r"^( *bind )\*?(:\d+)$", rf"\g<1>{host}\2", text, flags=re.M)


def remove_metrics(text: str) -> str:
    """Remove the frontend of HAProxy's own metrics, so that it does not listen on their port.

    `listen_on` has checked that Ray writes it.
    """
    return re.sub(r"^frontend prometheus\n(?:[ \t].*\n|\n)*", "", text, flags=re.M)


def reach_local_servers(text: str, host: str) -> str:
    """Connect to this node's servers at the server's address: they listen on that one only.

    Ray writes the loopback address for a node without a network, whatever the server's address is.
    """
    if host in ("", "localhost", "0.0.0.0", "::"):  # noqa: S104
        return text
    return re.sub(r"^( *server \S+ )127\.0\.0\.1(:\d+ )", rf"\g<1>{host}\2", text, flags=re.M)


def log_failures_only(settings: IngressSettings) -> list[str]:
    """No log line for a request without an error, unless the user set a log target."""
    return [] if settings.log_target else ["option dontlog-normal"]


def probe_connections() -> list[str]:
    """Probe connections to replicas every second.

    A node without power or network acknowledges no data. HAProxy can notice that only if it sends
    some, and while it waits for an answer it sends only these probes: see `notice_dead_nodes`.
    """
    return ["option srvtcpka", "srvtcpka-idle 1s", "srvtcpka-intvl 1s"]


def prefer_idle_replicas(text: str) -> str:
    """Send each request to the first idle replica, if there is one: its caches are warm.

    HAProxy's own rule, the least connections, would take idle replicas in turn.
    """
    backend = ""
    lines = []
    for line in text.split("\n"):
        if match := re.match(r"backend (\S+)", line):
            backend = match[1]
        if match := re.match(r" *server (SERVE_REPLICA_\S*)", line):
            idle = f"srv_conn({backend}/{match[1]}) eq 0"
            lines.append(f"    use-server {match[1]} if {{ {idle} }}")
        lines.append(line)
    return "\n".join(lines)


def notice_dead_nodes(text: str) -> str:
    """Give up a node that acknowledges no data for 5 s; by default it is a quarter of an hour.

    Its requests are sent to another node.
    """
    return re.sub(r"^( *server SERVE_REPLICA_.*)$", rf"\1 tcp-ut {DEAD_NODE_S}s", text, flags=re.M)


def _has_backend(text: str, name: str) -> bool:
    return re.search(rf"^backend {name}$", text, re.M) is not None


def remove_root_path(settings: IngressSettings) -> list[str]:
    """Choose the application by the path below the root path."""
    if not settings.root_path:
        return []
    below = f"%[path,bytes({len(settings.root_path)})]"
    return [f"http-request set-path {below} if {{ path_beg {settings.root_path}/ }}"]


def _public_bind(text: str) -> str:
    """The line with the address that clients connect to."""
    match = re.search(r"^frontend http_frontend\n *(bind \S+)$", text, re.M)
    if not match:
        raise MissingMarkerError("no line `bind ADDRESS` below `frontend http_frontend`")
    return match[1]


def _insert(text: str, marker: str, lines: Iterable[str]) -> str:
    """Add lines after the line `marker`, whatever its indentation.

    Raises:
        MissingMarkerError: there is no such line.
    """
    added = "".join(f"\n    {line}" for line in lines)
    text, count = re.subn(
        rf"^ *{re.escape(marker)}$", lambda match: match[0] + added, text, flags=re.M
    )
    if not count:
        raise MissingMarkerError(f"no line `{marker}`")
    return text


def _classifier_route(text: str) -> str:
    """The route prefix of the classifier application: `/` by default."""
    match = re.search(rf"^ *acl is_{CLASSIFIER} path (\S+)$", text, re.M)
    if not match:
        raise MissingMarkerError(f"no line `acl is_{CLASSIFIER} path PREFIX`")
    return match[1]


def _check_backends(text: str) -> None:
    """Check the names that Ray gives to applications and replicas: the rules search for them."""
    for name in re.findall(r"^ *use_backend (\S+) if", text, re.M):
        if not name.startswith(("http-", "grpc")):
            raise MissingMarkerError(f"`use_backend {name}` is not named http-APPLICATION")
    for line in re.findall(r"^ *(server .*)$", text, re.M):
        if not re.match(r"server (SERVE_REPLICA_|SERVE_PROXY_ACTOR)", line):
            raise MissingMarkerError(f"`{line}` is not named SERVE_REPLICA_…")
