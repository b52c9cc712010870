"""Why replicas do not start: Ray Serve's own error only names their deployment."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection

from pintag.cluster import failures
from pintag.core.errors import BundleError

_MAX_LENGTH = 400
# The last error of a traceback: its class, and its message, which may have several lines.
_ERROR = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Exit))(?:: |$)", re.MULTILINE)
# What Serve reports of a process that was killed.
_DIED = re.compile(r"Actor\w*Error\(|The actor died")
_MORE_MEMORY = "give it more memory, or lower autoscaling.min_replicas or max_batch_size"
_ANOTHER_BUNDLE = "put an intact copy of the bundle there, or serve another one"


def reason(error: Exception, applications: Collection[str] = ()) -> str:
    """Why applications could not be deployed, and the remedy, in one line.

    Args:
        error: what Ray Serve raised.
        applications: their names.
    """
    general = failures.reason(error)
    # Serve itself may have failed.
    with contextlib.suppress(Exception):
        return _of_replicas(applications) or general
    return general


def _of_replicas(applications: Collection[str]) -> str:
    import ray
    from ray import serve

    # Without a connection Ray would start a cluster.
    if not ray.is_initialized():
        return ""
    deployed = serve.status().applications
    failed = {
        name: deployment.message
        for name in applications
        if name in deployed
        for deployment in deployed[name].deployments.values()
        if deployment.status == "DEPLOY_FAILED"
    }
    return "; ".join(describe(name, message) for name, message in failed.items())


def describe(application: str, message: str) -> str:
    """What Serve reports about a deployment, as the reason of its replicas and the remedy."""
    name, text = _last_error(message.partition("Error:\n")[2] or message)
    if name.endswith("MemoryError") or _DIED.match(text):
        cause = f"its process was killed, or had not enough memory; {_MORE_MEMORY}"
    elif name == f"{BundleError.__module__}.{BundleError.__name__}":
        cause = f"{text}; {_ANOTHER_BUNDLE}"
    else:
        is_own = name.startswith("pintag.")
        cause = text if is_own else ": ".join(filter(None, (name, text)))
    log = f"its log is serve/replica_{application}_*.log in {failures.LOGS}"
    return f"each replica of the {application} fails: {cause}; {log}"


def _last_error(report: str) -> tuple[str, str]:
    """The class of the last error of a traceback, and its message in one line."""
    found = [*_ERROR.finditer(report)]
    name, text = (found[-1][1], report[found[-1].end() :]) if found else ("", report)
    text = " ".join(text.split())
    return name, text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]} …"
