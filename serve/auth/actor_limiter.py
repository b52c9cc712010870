"""The rate limiter in memory: one actor of Ray counts for all replicas of a cluster."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from typing import Any

from pintag.serve.auth.token_bucket import RateLimiter, TakeRequest, TakeResponse
from pintag.serve.config import AccessConfig
from pintag.serve.observability.logs import log

_ACTOR_NAME, _ACTOR_NAMESPACE = "token_buckets", "pintag"
# The actor of release 0.1: it has other methods, and may still run on a cluster.
_OLD_ACTOR_NAME = "meter"
_START_S = 15.0


class ActorLimiter:
    """Calls the cluster's only rate limiter, which the first replica starts."""

    def __init__(self) -> None:
        self._actor: Any = None
        self._lookup: concurrent.futures.Future[Any] | None = None

    async def take(self, request: TakeRequest) -> TakeResponse:
        """See `RateLimiter.take`."""
        if self._actor is None:
            self._actor = await self._find_actor()
        try:
            response: TakeResponse = await self._actor.take.remote(request)
        # A cancelled call is one that timed out.
        except BaseException:
            self._actor = None
            raise
        return response

    async def _find_actor(self) -> Any:
        """The actor.

        A thread of its own asks Ray for it, because that takes as long as Ray's control store is
        away. Until it is done, later calls wait for the same thread.
        """
        if self._lookup is None or self._lookup.done():
            self._lookup = _in_thread(_actor)
        return await asyncio.shield(asyncio.wrap_future(self._lookup))


def _in_thread(work: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    """The result of `work` in a thread that does not keep the process alive."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    # A waiting call that times out must not cancel it.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="pintag-rate-limiter", daemon=True).start()
    return future


def _actor() -> Any:
    """The rate limiter; start it if there is none. It outlives the replica that starts it."""
    import ray

    options = {
        "name": _ACTOR_NAME,
        "namespace": _ACTOR_NAMESPACE,
        "get_if_exists": True,
        "lifetime": "detached",
        "num_cpus": 0,
        "max_restarts": -1,
    }
    return ray.remote(RateLimiter).options(**options).remote()


def start(config: AccessConfig) -> concurrent.futures.Future[Any] | None:
    """Start the actor in the background, if it is needed and there is none."""
    if config.keys is None or config.rate_limits.redis is not None:
        return None
    return _in_thread(_started_actor)


def _started_actor() -> Any:
    import ray

    actor = _actor()
    ray.get(actor.ready.remote())
    return actor


def wait_for(starting: concurrent.futures.Future[Any] | None) -> None:
    """Wait until the actor has started, so that the first requests of a replica find it.

    After some seconds the replica starts without it.
    """
    if starting is None:
        return
    try:
        starting.result(_START_S)
    except Exception as error:
        log.error("the rate limiter has not started: %r", error)


def shut_down() -> None:
    """Stop the rate limiter, if there is one. Needed on a cluster that outlives the server."""
    import ray

    for name in (_ACTOR_NAME, _OLD_ACTOR_NAME):
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(name, _ACTOR_NAMESPACE))
