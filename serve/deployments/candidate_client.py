"""A classifier replica's client of the candidate: health checks, and predictions with a timeout."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Protocol

from pintag.core.types import Confidences
from pintag.data.labels import Labels
from pintag.serve.model_info import ModelInfo
from pintag.serve.observability.logs import log

# Seconds between two health checks, and the timeout of each.
_CHECK_INTERVAL_S = 2.0
# The longest pause in seconds after repeated failures.
_MAX_PAUSE_S = 60.0


class RemoteMethod(Protocol):
    """A method of a deployment, called by a Ray handle."""

    def remote(self, *arguments: Any) -> Any: ...


class CandidateHandle(Protocol):
    """Ray's handle of the candidate's deployment."""

    @property
    def info(self) -> RemoteMethod: ...

    @property
    def predict(self) -> RemoteMethod: ...


class CandidateClient:
    """Calls the candidate while it is healthy, and gives up a call at its timeout.

    After a failure the candidate is paused. The pause doubles with each failure in a row.
    """

    def __init__(
        self,
        handle: CandidateHandle,
        labels: Labels,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a client that considers the candidate unhealthy until `check` has succeeded.

        Args:
            handle: calls the candidate's deployment.
            labels: those of the served bundle; the candidate must have the same.
            clock: returns seconds.
        """
        self._info, self._predict = handle.info, handle.predict
        self._labels, self._clock = labels, clock
        self.model: ModelInfo | None = None
        """The candidate's model while it is healthy, else None."""
        self._reason = ""
        self._pause_s, self._paused_until = _CHECK_INTERVAL_S, 0.0

    async def watch(self) -> None:
        """Check the candidate's health at a fixed interval, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(_CHECK_INTERVAL_S)

    async def check(self) -> None:
        """Check the candidate's health once, unless it is paused."""
        if self._clock() < self._paused_until:
            return
        try:
            info = await _call(self._info, timeout_s=_CHECK_INTERVAL_S)
        # Any error means that the candidate is not available.
        except Exception as error:
            info = _describe(error)
        if isinstance(info, str):
            self._set_unhealthy(info)
        elif tuple(info.labels) != self._labels.names:
            self._set_unhealthy(
                f"its labels differ from those of the served bundle: {', '.join(info.labels)}"
            )
        else:
            self._set_healthy(info)

    async def predict(
        self, images: Sequence[bytes], timeout_s: float
    ) -> list[Confidences | Exception]:
        """The confidences `float32[C]` of each encoded image in order, or its error.

        Raises:
            TimeoutError: no answer within `timeout_s` seconds.
            Exception: the call failed.
        """
        try:
            rows: list[Confidences | Exception] = await _call(
                self._predict, images, timeout_s=timeout_s
            )
        except Exception as error:
            # Several calls in flight fail together; only the first of them starts a pause.
            if self.model:
                self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
                self._paused_until = self._clock() + self._pause_s
                self._set_unhealthy(_describe(error))
            raise
        self._pause_s = _CHECK_INTERVAL_S
        return rows

    def _set_healthy(self, info: ModelInfo) -> None:
        if self.model is None:
            log.info("the candidate %s %s is healthy", info.name, info.version)
        self.model, self._reason = info, ""

    def _set_unhealthy(self, reason: str) -> None:
        if reason != self._reason:
            log.warning("the candidate receives no images, the server works without it: %s", reason)
        self.model, self._reason = None, reason


async def _call(method: RemoteMethod, *arguments: Any, timeout_s: float) -> Any:
    async def call() -> Any:
        return await method.remote(*arguments)

    # In a new context: when a request ends, Ray cancels the calls that it started in its context.
    task = asyncio.get_running_loop().create_task(call(), context=Context())
    return await asyncio.wait_for(task, timeout_s)


def _describe(error: Exception) -> str:
    """The kind of an error. Its message is left out: Ray puts a whole traceback into it."""
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
