"""A replica's contact with the candidate: whether it is well, and what it says in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Protocol

from pintag.engine import Confidences
from pintag.labels import Labels
from serve.problems import log
from serve.protocol import ModelInfo

_LOOK_SECONDS = 2.0
_LONGEST_REST = 60.0


class Method(Protocol):
    """One of a deployment's, as Ray's handles have them."""

    def remote(self, *arguments: Any) -> Any: ...


class Handle(Protocol):
    """Ray's, of the candidate's deployment."""

    @property
    def info(self) -> Method: ...

    @property
    def predict(self) -> Method: ...


class Contact:
    """Nobody is kept waiting by a candidate: it is asked while it is well, and given up when late.

    One that failed rests, and rests for longer each time, before it is asked again.
    """

    def __init__(
        self,
        handle: Handle,
        labels: Labels,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`labels` are those that are served: the candidate's must be the same."""
        self._info, self._predict = handle.info, handle.predict
        self._labels, self._clock = labels, clock
        self.model: ModelInfo | None = None
        """What it is, while it is well."""
        self._why = ""
        self._rest, self._rested = _LOOK_SECONDS, 0.0

    async def watch(self) -> None:
        """Look whether it is well, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Look whether it is well, unless it rests."""
        if self._clock() < self._rested:
            return
        try:
            found = await _answered(self._info, seconds=_LOOK_SECONDS)
        # Whatever it is, the candidate is not there.
        except Exception as error:
            found = _words(error)
        if isinstance(found, str):
            self._lose(found)
        elif tuple(found.labels) != self._labels.names:
            self._lose(f"its labels are others than are served: {', '.join(found.labels)}")
        else:
            self._find(found)

    async def predict(
        self, images: Sequence[bytes], seconds: float
    ) -> list[Confidences | Exception]:
        """The confidences of each encoded image, or why it has none.

        Raises:
            Exception: it did not answer, or not within these seconds.
        """
        try:
            rows: list[Confidences | Exception] = await _answered(
                self._predict, images, seconds=seconds
            )
        except Exception as error:
            # Of those that were under way at once the first one has said it.
            if self.model:
                self._rest = min(2 * self._rest, _LONGEST_REST)
                self._rested = self._clock() + self._rest
                self._lose(_words(error))
            raise
        self._rest = _LOOK_SECONDS
        return rows

    def _find(self, found: ModelInfo) -> None:
        if self.model is None:
            log.info("the candidate %s %s is well", found.name, found.version)
        self.model, self._why = found, ""

    def _lose(self, why: str) -> None:
        if why != self._why:
            log.warning("the candidate is not asked, the server does without it: %s", why)
        self.model, self._why = None, why


async def _answered(method: Method, *arguments: Any, seconds: float) -> Any:
    async def ask() -> Any:
        return await method.remote(*arguments)

    # In a context of its own: Ray ends with a request what was asked within it.
    asking = asyncio.get_running_loop().create_task(ask(), context=Context())
    return await asyncio.wait_for(asking, seconds)


def _words(error: Exception) -> str:
    """An error of Ray's comes with a whole traceback."""
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
