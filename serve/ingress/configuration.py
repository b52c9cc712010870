"""The rules that pintag adds to the HAProxy configuration that Ray writes.

Ray's template has no variables for these rules. Each rule changes a line that Ray writes, its
marker. A missing marker is an error: another release of Ray may write other lines, and then HAProxy
would run without overload protection, and nobody would notice.

Standard library only: see main.py.
"""

from __future__ import annotations

import re

from . import answers, balancing, clients, cors, headers, health, identity, limits, refusals
from .limits import CLASSIFIER
from .sections import FRONTEND, ConfigSection, Configuration, MissingMarkerError
from .settings import IngressSettings

EXPLAINER = "http-explainer"
_METRICS = "frontend prometheus"
_ERROR_PAGES = ("502", "503", "504")


def patch(configuration: Configuration, settings: IngressSettings) -> None:
    """Add all rules to a configuration.

    Ray's first configuration has no applications. Rules for applications are added as soon as Ray
    writes one that has them.

    Raises:
        MissingMarkerError: a line that a rule must change is missing.
    """
    frontend = configuration.section(FRONTEND)
    _check_names(configuration)
    listen_on(configuration, settings)
    configuration.section("global").insert("stats timeout 30s", limits.counters())
    configuration.section("defaults").insert("option httplog", _defaults(settings))
    frontend.insert(_public_bind(frontend), _for_every_request(settings))
    replace_error_pages(configuration)
    health.require_replicas(configuration)
    applications = configuration.applications()
    for name, backend in applications.items():
        reach_local_servers(backend, settings.host)
        balancing.choose_replicas(name, backend)
        balancing.notice_dead_nodes(backend)
    if EXPLAINER in applications:
        applications[EXPLAINER].lines[:0] = limit_explanation_time(settings)
    if CLASSIFIER in applications:
        replicas = applications[CLASSIFIER].replicas
        applications[CLASSIFIER].lines[:0] = limits.limit_answers(settings)
        frontend.lines[1:1] = balancing.any_up(CLASSIFIER, replicas)
        _refuse_overload(frontend, settings, len(replicas))
    configuration.sections += limits.tables()


def _defaults(settings: IngressSettings) -> list[str]:
    return [
        *log_failures_only(settings),
        *balancing.probe_connections(),
        *limits.limit_heads(),
        *answers.own_errors(settings),
    ]


def _for_every_request(settings: IngressSettings) -> list[str]:
    return [
        *limits.limit_connections(settings),
        *remove_root_path(settings),
        *headers.identify_requests(),
        *cors.allow_origins(settings),
        *refusals.refuse_http_2(),
        *refusals.answer_what_has_no_path(),
        *headers.hide_rays_headers(),
        *clients.name_clients(),
        *limits.wait_for_body(settings),
        *answers.set_status_of_hanging_replicas(),
        *answers.replace_rays_answers(),
        *identity.accept_own_replicas_only(settings),
        *answers.close_late_uploads(),
    ]


def replace_error_pages(configuration: Configuration) -> None:
    """Remove Ray's error pages, which HAProxy would send instead of the problems."""
    pages = configuration.section("defaults").replace(r"errorfile \d+ .*", lambda _: [])
    if pages != len(_ERROR_PAGES):
        raise MissingMarkerError("no lines `errorfile`, one for each of " + ", ".join(_ERROR_PAGES))
    backend = configuration.section("backend default_backend")
    marker = "http-request return status 404"
    if not backend.replace(
        f"{marker} content-type text/plain .*", lambda _: [answers.no_application()]
    ):
        raise MissingMarkerError(f"no line `{marker}`")


def limit_explanation_time(settings: IngressSettings) -> list[str]:
    """Give up a replica that does not explain in time, without another attempt.

    Another replica would take as long as the client has waited already.
    """
    rules = limits.limit_answer_time(settings.explanation_timeout_s)
    return [*rules, "retry-on conn-failure empty-response 425"] if rules else []


def listen_on(configuration: Configuration, settings: IngressSettings) -> None:
    """Listen on the server's address, where Ray writes every interface.

    That is so for HAProxy's metrics and pages. Ray writes it for `::`, too, and means IPv4 then.
    Without metrics HAProxy does not listen on their port.
    """
    for title in (FRONTEND, _METRICS, "listen stats"):
        count = configuration.section(title).replace(
            r"bind (\*?)(:\d+)", lambda found: [f"bind {settings.host or found[1]}{found[2]}"]
        )
        if not count and title != FRONTEND:
            raise MissingMarkerError(f"no line `bind *:PORT` below `{title}`")
    if not settings.has_metrics:
        configuration.sections.remove(configuration.section(_METRICS))


def reach_local_servers(backend: ConfigSection, host: str) -> None:
    """Connect to this node's servers at the server's address: they listen on that one only.

    Ray writes the loopback address for a node without a network, whatever the server's address is.
    """
    if host not in ("", "localhost", "0.0.0.0", "::"):  # noqa: S104
        backend.replace(
            r"(server \S+ )127\.0\.0\.1(:\d+ .*)", lambda found: [f"{found[1]}{host}{found[2]}"]
        )


def log_failures_only(settings: IngressSettings) -> list[str]:
    """No log line for a request without an error, unless the user set a log target."""
    return [] if settings.log_target else ["option dontlog-normal"]


def remove_root_path(settings: IngressSettings) -> list[str]:
    """Choose the application by the path below the root path."""
    if not settings.root_path:
        return []
    below = f"%[path,bytes({len(settings.root_path)})]"
    return [f"http-request set-path {below} if {{ path_beg {settings.root_path}/ }}"]


def _public_bind(frontend: ConfigSection) -> str:
    """The line with the address that clients connect to."""
    if not frontend.lines or not re.fullmatch(r"bind \S+", frontend.lines[0]):
        raise MissingMarkerError(f"no line `bind ADDRESS` below `{FRONTEND}`")
    return frontend.lines[0]


def _refuse_overload(frontend: ConfigSection, settings: IngressSettings, replicas: int) -> None:
    """Add the rules where the application is chosen, below its route prefix: `/` by default."""
    marker = f"acl is_{CLASSIFIER} path "
    routes = [line.removeprefix(marker) for line in frontend.lines if line.startswith(marker)]
    if not routes:
        raise MissingMarkerError(f"no line `{marker}PREFIX`")
    rules = limits.refuse_overload(settings, routes[0].rstrip("/"), replicas)
    frontend.insert(marker + routes[0], rules)


def _check_names(configuration: Configuration) -> None:
    """Check the names that Ray gives to applications and replicas: the rules search for them."""
    for line in (line for section in configuration.sections for line in section.lines):
        if re.match(r"use_backend (?!http-|grpc)", line):
            raise MissingMarkerError(f"`{line}` is not named http-APPLICATION")
        if re.match(r"server (?!SERVE_REPLICA_|SERVE_PROXY_ACTOR)", line):
            raise MissingMarkerError(f"`{line}` is not named SERVE_REPLICA_…")
