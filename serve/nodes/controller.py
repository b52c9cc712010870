"""Ray Serve's controller, of which a cluster has at most one."""

from __future__ import annotations

import contextlib


def is_running() -> bool:
    """Whether Ray Serve runs on the cluster already."""
    import ray

    with contextlib.suppress(ValueError):
        ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
        return True
    return False
