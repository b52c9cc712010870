#!/bin/sh
# Ray starts this program instead of HAProxy (RAY_SERVE_HAPROXY_BINARY_PATH): Ray takes one path, without arguments.
# Isolated (-I) and without site-packages (-S): every reload of HAProxy waits for this start.
exec "$PINTAG_PYTHON" -IS "${0%/*}/main.py" "$@"
