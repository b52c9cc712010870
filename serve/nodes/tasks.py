"""Calls functions on the nodes of the cluster. Two raylets of one host are two nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from pintag.cluster import failures
from pintag.core.errors import ServerError

T = TypeVar("T")

# Seconds within which a node returns a result.
_TIMEOUT_S = 60.0
# The first characters of a node's id: several nodes may have one address.
_ID_LENGTH = 8


def call_on_each(function: Callable[..., T], *args: object) -> dict[str, T]:
    """The result of a function on each node, by the node's name.

    A node that ends meanwhile has no result.

    Raises:
        ServerError: a node does not answer.
    """
    names = _names()
    calls = {node: _start(node, function, *args) for node in names}
    results = {}
    for node, call in calls.items():
        try:
            results[names[node]] = _result(names[node], call)
        except ServerError as error:
            if not _has_gone(node, error):
                raise
    return results


def call_on(node: str, function: Callable[..., T], *args: object) -> T:
    """The result of a function on the node with this id.

    Raises:
        ServerError: the node does not answer.
    """
    result: T = _result(_names().get(node, node), _start(node, function, *args))
    return result


def _names() -> dict[str, str]:
    """The names of the living nodes, by id: their addresses, with the id if that is not unique."""
    import ray

    nodes = {each["NodeID"]: each["NodeManagerAddress"] for each in ray.nodes() if each["Alive"]}
    counts = Counter(nodes.values())
    return {
        node: address if counts[address] == 1 else f"{address} ({node[:_ID_LENGTH]})"
        for node, address in nodes.items()
    }


def _start(node: str, function: Callable[..., T], *args: object) -> Any:
    """Start to call a function on a node, and return Ray's reference to the result."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task: Any = ray.remote(num_cpus=0, max_calls=1)(function)
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return task.options(scheduling_strategy=there).remote(*args)


def _result(name: str, call: Any) -> Any:
    import ray

    try:
        return ray.get(call, timeout=_TIMEOUT_S)
    except ray.exceptions.RayError as error:
        if reason := failures.cause(error):
            raise reason from error
        raise ServerError(f"node {name} does not answer: {failures.reason(error)}") from error


def _has_gone(node: str, error: ServerError) -> bool:
    """Whether a call failed because its node has ended, or is ending and takes no tasks."""
    import ray

    is_ending = isinstance(error.__cause__, ray.exceptions.TaskUnschedulableError)
    return is_ending or node not in _names()
