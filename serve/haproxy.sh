#!/bin/sh
# Ray's HAProxy, without splicing: where it splices a request whose body is below its buffer (16 KB,
# as most pictures are) and arrives after the head, it never notices that the client leaves, and a
# replica works for nobody. Ray's template asks for splicing, and has no variable against it.
exec "$PINTAG_HAPROXY" -dS "$@"
