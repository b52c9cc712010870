"""What the replicas of a server need, and what the nodes of a Ray cluster have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from pintag.cluster import ray_variables
from pintag.core.errors import ServerError
from pintag.serve.config import ServeConfig

REMEDY = "start more nodes, or lower num_cpus, num_gpus, resources or autoscaling.min_replicas"

Resources = Mapping[str, float]
"""Amounts by the names that Ray gives them: `CPU`, `GPU`, and custom ones."""

_NAMES = {"CPU": "processors", "GPU": "GPUs"}


def shortage(config: ServeConfig, nodes: Sequence[Resources]) -> str | None:
    """What the first replicas need and the nodes have; None if each replica finds a node.

    Ray waits for missing resources for ever, because somebody may add a node. It spreads replicas
    over the nodes, so a replica that needs several processors may find one left on each.

    Args:
        nodes: what each node has in all, used or not.
    """
    replicas = _replicas(config)
    left = [dict(node) for node in nodes]
    if all(_place(each, left) for each in replicas):
        return None
    names = dict.fromkeys(name for each in replicas for name in each)
    return "; ".join(
        f"the replicas need {_amounts(replicas, name)} {_NAMES.get(name, name)}, "
        f"the nodes have {_amounts(nodes, name)}"
        for name in names
    )


def warn(config: ServeConfig, notify: Callable[[str], None]) -> None:
    """Warn the user of a server that starts why it may wait."""
    if short := shortage_of_cluster(config):
        notify(f"replicas may wait for a node: {short}; {REMEDY}")


def shortage_of_cluster(config: ServeConfig) -> str | None:
    """See `shortage`: of the cluster to which this process is connected."""
    import ray

    return shortage(config, [node["Resources"] for node in ray.nodes() if node["Alive"]])


def min_cpus(config: ServeConfig) -> int:
    """The logical processors that a local cluster needs for all replicas, also in a roll-out."""
    needed = sum(
        deployment.autoscaling.max_replicas
        * (1 + deployment.max_surge_percent / 100)
        * deployment.num_cpus
        for deployment in config.deployments
    )
    return math.ceil(needed) + 1


def check_gpus(config: ServeConfig, available: float) -> None:
    """Check that a local cluster has enough GPUs: it would wait for missing ones for ever.

    Other clusters are not checked: they may add a node with GPUs.

    Raises:
        ServerError: it has fewer than the first replicas need.
    """
    needed = sum(
        deployment.autoscaling.min_replicas * deployment.num_gpus
        for deployment in config.deployments
    )
    if ray_variables.is_local() and needed > available:
        raise ServerError(
            f"the replicas need {needed:g} GPUs (num_gpus), and this machine has {available:g}"
        )


def _replicas(config: ServeConfig) -> list[Resources]:
    return [
        {name: amount for name, amount in resources.items() if amount}
        for each in config.deployments
        for resources in [{"CPU": each.num_cpus, "GPU": each.num_gpus, **each.resources}]
        for _ in range(each.autoscaling.min_replicas)
    ]


def _place(replica: Resources, left: Iterable[dict[str, float]]) -> bool:
    """Take what a replica needs from the node that has the most processors left."""
    fitting = [
        node
        for node in left
        if all(node.get(name, 0) >= amount for name, amount in replica.items())
    ]
    if not fitting:
        return False
    chosen = max(fitting, key=lambda node: node.get("CPU", 0))
    for name, amount in replica.items():
        chosen[name] -= amount
    return True


def _amounts(each: Iterable[Resources], name: str) -> str:
    """The sum, and its parts: `4 (2 x 1, 1 x 2)`."""
    counts = Counter(resources[name] for resources in each if resources.get(name))
    parts = ", ".join(f"{count} x {amount:g}" for amount, count in sorted(counts.items()))
    return f"{sum(a * n for a, n in counts.items()):g}" + (f" ({parts})" if parts else "")
