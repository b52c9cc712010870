#!/bin/sh
# Ray's HAProxy, with what Ray's template for its configuration has no variable for:
#
# - No splicing (-dS): where HAProxy splices a request whose body is below its buffer (of 16 KB, as
#   most pictures were) and arrives after the head, it never notices that the client leaves, and a replica
#   works for nobody.
# - An idle replica is taken before all others, the first one first: its caches are warm. HAProxy's
#   rule of the least connections would take idle ones in turn.
# - Overload is refused here, in microseconds, where a replica would spend a tenth of an answer on
#   it: when there are PINTAG_MOST requests for tags to each replica. Retry-After is the time they
#   take at the rate of the last second. The text is that of serve/protocol.py.
# - A body that fits the buffer has come whole before a replica is chosen: what HAProxy has whole it
#   can send again where a replica dies over it, and whoever sends slowly keeps no replica.
# - What is answered here has an X-Request-ID as well: the request's own, or one that it gets here.
# - A node that is gone without a word (power, network) is noticed within 5 s by who waits for its
#   answer, not after a quarter of an hour: what was sent there is sent to another one.
# - A replica that has not answered in PINTAG_ANSWER_SECONDS, longer than one that is well can take,
#   hangs: what it has is sent to another one.
# - HAProxy's own metrics and pages listen where the server does, not on every interface.
# - It is watched, and back at once when it was killed: see haproxy.py.
# - No line of a log for each good request, unless RAY_SERVE_HAPROXY_LOG_TARGET names who reads them.
config=
for argument in "$@"; do
    if [ "$config" = next ]; then config=$argument; break; fi
    if [ "$argument" = -f ]; then config=next; fi
done
if [ -f "$config" ]; then
    awk -v most="${PINTAG_MOST:-0}" -v seconds="${PINTAG_BODY_SECONDS:-60}" \
        -v answer="${PINTAG_ANSWER_SECONDS:-0}" -v host="$PINTAG_HOST" -v buffer="${RAY_SERVE_HAPROXY_TUNE_BUFSIZE:-16384}" \
        -v log_target="$RAY_SERVE_HAPROXY_LOG_TARGET" '
        function problem(status, title, detail, kind) {
            return "content-type application/problem+json string \"{" \
                quoted("type", "about:blank") "," quoted("title", title) \
                ",\\\"status\\\":" status "," quoted("detail", detail) "," \
                quoted("kind", kind) "}\""
        }
        function quoted(key, value) { return "\\\"" key "\\\":\\\"" value "\\\"" }
        /^backend / { backend = $2 }
        /^ *server SERVE_REPLICA_/ {
            print "    use-server " $2 " if { srv_conn(" backend "/" $2 ") eq 0 }"
        }
        /^ *bind \*?:[0-9]+$/ { sub(/\*?:/, host ":") }
        /^ *server SERVE_REPLICA_/ { $0 = $0 " tcp-ut 5s" }
        { print }
        /^backend http-classifier$/ && answer > 0 {
            print "    timeout server " int(1000 * answer) "ms"
        }
        /^ *option httplog$/ && log_target == "" { print "    option dontlog-normal" }
        /^ *acl is_http-classifier path \/$/ {
            id = " hdr X-Request-ID %[req.hdr(x-request-id)]"
            print "    http-request set-header x-request-id %[uuid] " \
                "if !{ req.hdr(x-request-id) -m found }"
        }
        # So that those who wait for an answer have something that is not acknowledged, too.
        /^ *option httplog$/ { print "    option srvtcpka\n    srvtcpka-idle 1s\n    srvtcpka-intvl 1s" }
        /^ *acl is_http-classifier path \/$/ && most > 0 {
            full = " if pintag_tags pintag_full"
            set = "    http-request set-var(txn.pintag_"
            print "    acl pintag_tags path_beg /v1/tags"
            print set "most) nbsrv(http-classifier),mul(" most ") if pintag_tags"
            # Once for a request: another thread may change the count between two rules.
            print set "over) be_conn(http-classifier),sub(txn.pintag_most) if pintag_tags"
            print "    acl pintag_full var(txn.pintag_over) -m int ge 0"
            print set "rate) be_sess_rate(http-classifier),add(1)" full
            print set "wait) be_conn(http-classifier),div(txn.pintag_rate),add(1)" full
            print "    http-request return status 503 hdr Retry-After %[var(txn.pintag_wait)]" id " " \
                problem(503, "Service Unavailable", \
                    "as many images are under way as are admitted; try again", "overloaded") full
        }
        /^ *acl is_http-classifier path \/$/ {
            print "    http-error status 408 " problem(408, "Request Timeout", \
                "the body did not arrive within " seconds " s", "late_body") id
            print "    http-request wait-for-body time " int(1000 * seconds) \
                "ms if METH_POST { req.hdr(content-length) -m int le " buffer " }"
        }' "$config" >"$config.pintag" && cat "$config.pintag" >"$config"
fi
# Not in Ray's hands, as when it only checks a file or tells its version, nobody has to watch it.
case " $* " in
*" -db "*) exec "$PINTAG_PYTHON" -IS "${0%/*}/haproxy.py" "$PINTAG_HAPROXY" -dS "$@" ;;
*) exec "$PINTAG_HAPROXY" -dS "$@" ;;
esac
