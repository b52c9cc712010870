"""The log of the replicas."""

from __future__ import annotations

import logging

# Ray Serve's own logger writes to the replica's log file; any other writes to standard error.
log = logging.getLogger("ray.serve")
