"""Rules that protect the server from load: a request that waits does not slow others.

A request is admitted when its body has arrived. Until then it waits in HAProxy: it counts for its
client's address, and neither for a replica nor for the limit of requests in flight. A body that is
larger than HAProxy's buffer goes on to a replica when the buffer is full. Such requests are counted
apart, because nobody knows when the rest arrives.

Standard library only: see main.py.
"""

from __future__ import annotations

from .balancing import ANY_UP
from .clients import ADDRESS
from .problems import reply
from .sections import ConfigSection
from .settings import IngressSettings

# The backend of the application `classifier`, as Ray calls it.
CLASSIFIER = "http-classifier"

# Seconds for the head of a request, and for the first request on a connection.
_HEAD_TIMEOUT_S = 10
# A replica answers a request for one image before its deadline, if need be with 504. This many
# seconds later Ray's own proxy gives up the request, and HAProxy the replica.
_PROXY_SPARE_S, _REPLICA_SPARE_S = 0.5, 1.0
_WAITING, _ARRIVED, _LARGE = "pintag_waiting", "pintag_arrived", "pintag_large"
_CLIENTS, _ALL_LARGE = "pintag_clients", "pintag_all_large"
_TABLE = "size 100k expire 10m store conn_cur"
_IS_LARGE = "{ var(txn.pintag_large) -m bool }"
_FULL = "the limit of images in flight is reached; try again"
# One client may have a quarter of the large requests: a platform's only upload server needs many.
_CLIENTS_SHARE = 4


def counters() -> list[str]:
    """A line for the global section: the rules count with four counters, HAProxy has three."""
    return ["tune.stick-counters 4"]


def tables() -> list[ConfigSection]:
    """The sections of the counters: what each client address, or all together, have at a time."""
    kinds = dict.fromkeys((_CLIENTS, _WAITING, _ARRIVED, _LARGE), "ipv6") | {_ALL_LARGE: "integer"}
    return [
        ConfigSection(f"backend {name}", [f"stick-table type {kind} {_TABLE}"])
        for name, kind in kinds.items()
    ]


def limit_heads() -> list[str]:
    """Close a connection whose head does not arrive; say nothing if it has sent nothing."""
    return [f"timeout http-request {_HEAD_TIMEOUT_S}s", "option http-ignore-probes"]


def limit_connections(settings: IngressSettings) -> list[str]:
    """Close the connections of a client address that has too many."""
    if not settings.max_connections:
        return []
    return [
        f"tcp-request connection track-sc0 {ADDRESS} table {_CLIENTS}",
        f"tcp-request connection reject if {{ sc0_conn_cur gt {settings.max_connections} }}",
    ]


def wait_for_body(settings: IngressSettings) -> list[str]:
    """Choose a replica only when the body has arrived, or fills the buffer.

    Then HAProxy can send a request that fits the buffer again if the replica dies, and a client
    that sends slowly occupies no replica.
    """
    milliseconds = int(1000 * settings.body_timeout_s)
    is_large = "http-request set-var(txn.pintag_large) bool(1) if"
    return [
        "acl pintag_chunked req.hdr(transfer-encoding) -m found",
        "acl pintag_body req.hdr(content-length) -m int gt 0",
        "acl pintag_incomplete var(txn.pintag_missing) -m int gt 0",
        "acl pintag_waits var(txn.pintag_waits) -m bool",
        f"acl pintag_large {_IS_LARGE[2:-2]}",
        *_refuse_long_bodies(settings),
        # The length of a chunked body is not known before its end.
        f"acl pintag_long req.body_len gt {settings.buffer_bytes // 2}",
        *_count_missing_bytes(),
        "http-request set-var(txn.pintag_waits) bool(1) if pintag_incomplete || pintag_chunked",
        f"http-request track-sc1 {ADDRESS} table {_WAITING} if pintag_waits",
        *_refuse_waiting(settings),
        f"http-request wait-for-body time {milliseconds}ms if pintag_body || pintag_chunked",
        *_count_missing_bytes(),
        f"{is_large} pintag_incomplete || pintag_chunked pintag_long",
        f"http-request track-sc2 {ADDRESS} table {_LARGE} if pintag_large",
        f"http-request track-sc2 {ADDRESS} table {_ARRIVED} if pintag_waits !pintag_large",
    ]


def _refuse_long_bodies(settings: IngressSettings) -> list[str]:
    """Refuse a body by its announced length: waiting for it would help nobody."""
    length = "req.hdr(content-length) -m int gt"
    one, most = settings.max_image_bytes, settings.max_request_bytes
    paths = " ".join(f"{path} {path}/" for path in ("/v1/tags", "/v1/explanations"))
    rules = []
    if one:
        rules += [
            f"acl pintag_one_image path_end {paths}",
            "acl pintag_form req.hdr(content-type) -m beg -i multipart/",
            f"acl pintag_long_image {length} {one}",
            f"http-request return {_too_long(one)} if pintag_one_image !pintag_form "
            "pintag_long_image",
        ]
    if most:
        rules.append(f"http-request return {_too_long(most)} if {{ {length} {most} }}")
    return rules


def _too_long(limit: int) -> str:
    return reply(413, "too_large", f"the body exceeds the limit of {limit:,} bytes")


def _count_missing_bytes() -> list[str]:
    return [
        "http-request set-var(txn.pintag_size) req.body_size",
        "http-request set-var(txn.pintag_missing) req.body_len,neg,add(txn.pintag_size)",
    ]


def _refuse_waiting(settings: IngressSettings) -> list[str]:
    """Refuse a request of an address for which too many wait: begun ones, less those arrived.

    A request whose body is already here does not wait, so it is not refused.
    """
    if not settings.max_waiting_bodies:
        return []
    waiting = "http-request set-var(txn.pintag_waiting)"
    many = f"{{ var(txn.pintag_waiting) -m int gt {settings.max_waiting_bodies} }}"
    refused = reply(
        429,
        "too_many_uploads",
        f"more than {settings.max_waiting_bodies} uploads of this address wait for their bodies; "
        "try again",
        "Retry-After 1",
    )
    return [
        f"http-request set-var(txn.pintag_done) {ADDRESS},table_conn_cur({_ARRIVED}) "
        "if pintag_waits",
        f"{waiting} {ADDRESS},table_conn_cur({_WAITING}),sub(txn.pintag_done) if pintag_waits",
        f"http-request return {refused} if pintag_waits {many}",
    ]


def refuse_overload(settings: IngressSettings, prefix: str, replicas: int) -> list[str]:
    """Refuse requests for tags while each replica has as many requests as it admits.

    If all seem to be down, all get requests: see `balancing.choose_replicas`.

    HAProxy refuses a request in microseconds; a replica would need a tenth of the time of an
    answer. Retry-After is the time that the waiting requests take at the rate of the last second.
    """
    limit = settings.max_ongoing_requests
    if not limit:
        return []
    set_var, full = "http-request set-var(txn.pintag_", " if pintag_tags pintag_full"
    refused = reply(503, "overloaded", _FULL, "Retry-After %[var(txn.pintag_wait)]")
    return [
        f"acl pintag_tags path_beg {prefix}/v1/tags",
        f"{set_var}most) nbsrv({CLASSIFIER}),mul({limit})",
        *([f"{set_var}most) int({limit * replicas}) if !{ANY_UP}"] if replicas else []),
        *_refuse_large(settings),
        f"{set_var}larger) int(1),table_conn_cur({_ALL_LARGE}),add(txn.pintag_most) if pintag_tags",
        # Computed once per request: another thread may change the count between two rules.
        f"{set_var}over) be_conn({CLASSIFIER}),sub(txn.pintag_larger) if pintag_tags !pintag_large",
        "acl pintag_full var(txn.pintag_over) -m int ge 0",
        f"{set_var}rate) be_sess_rate({CLASSIFIER}),add(1){full}",
        f"{set_var}wait) be_conn({CLASSIFIER}),div(txn.pintag_rate),add(1){full}",
        f"http-request return {refused}{full}",
    ]


def _refuse_large(settings: IngressSettings) -> list[str]:
    """Bound the large requests, whose bodies take memory in the replicas before they are admitted.

    There may be as many of them as replicas admit. One client may have a small share of those, but
    always one: nobody knows how many of its bodies will arrive.
    """
    set_var = "http-request set-var(txn.pintag_"
    refused = f"http-request return {reply(503, 'overloaded', _FULL)} if pintag_large"
    rules = [
        f"{set_var}all) int(1),table_conn_cur({_ALL_LARGE}),sub(txn.pintag_most) if pintag_large",
        f"{refused} {{ var(txn.pintag_all) -m int ge 0 }}",
    ]
    if settings.max_waiting_bodies:
        rules += [
            f"{set_var}own) sc2_conn_cur({_LARGE}),mul({_CLIENTS_SHARE}),sub(txn.pintag_most) "
            "if pintag_large",
            f"{refused} {{ var(txn.pintag_own) -m int gt 0 }} {{ sc2_conn_cur({_LARGE}) gt 1 }}",
        ]
    return [
        *rules,
        f"http-request track-sc3 int(1) table {_ALL_LARGE} if pintag_large pintag_tags",
    ]


def limit_answers(settings: IngressSettings) -> list[str]:
    """Rules of the classifier's backend: each request ends, also if all replicas hang.

    A replica that hangs is given up a second after the deadline, and the request is sent to another
    one. If there is none, Ray's own proxy gets it, and obeys the header. So the request ends within
    twice the deadline and two seconds. A large one cannot be sent again. It may take longer to
    read, and ends when its replica is given up.
    """
    rules = limit_answer_time(settings.answer_timeout_s)
    if settings.deadline_s:
        milliseconds = int(1000 * (settings.deadline_s + _REPLICA_SPARE_S))
        seconds = settings.deadline_s + _PROXY_SPARE_S
        rules += [
            f"http-request set-timeout server {milliseconds}ms if !{_IS_LARGE}",
            f"http-request set-header x-request-timeout-seconds {seconds:g} if !{_IS_LARGE}",
        ]
    return rules


def limit_answer_time(seconds: float) -> list[str]:
    """Give up a replica that does not answer in time."""
    return [f"timeout server {int(1000 * seconds)}ms"] if seconds else []
