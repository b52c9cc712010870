"""The queue in front of a replica's decoders: what is admitted, and which image is decoded next.

Clients share the decoders equally, and so do the requests of a client (`EqualShares`). A request is
admitted if its images can be decoded before its deadline in its share. So a client with many
requests, or with images that take long, competes with itself. It never has all decoders at once:
what is being decoded cannot be put off, so another client would wait until an image is done. For
the same reason images that take long never have all decoders, from however many clients they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pintag.core.errors import ImageTooLargeError
from pintag.core.types import Pixels
from pintag.serve.errors import OverloadedError
from pintag.serve.inference.equal_shares import EqualShares, seconds_until_done

Result = TypeVar("Result")
# A photograph takes less, by its header; only images that take longer may keep others waiting.
_LONG_S = 0.25


@dataclass(slots=True, eq=False)
class _Job(Generic[Result]):
    seconds: float
    work: Callable[[], Result]
    future: Future[Result] = field(default_factory=Future)

    @property
    def is_long(self) -> bool:
        """Whether other clients should not have to wait until it is done."""
        return self.seconds > _LONG_S

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.work())
        # Whatever it is, it belongs to this image.
        except BaseException as error:
            self.future.set_exception(error)


class _ClientQueue:
    """The requests of one client that have images to decode."""

    def __init__(self) -> None:
        self.shares = EqualShares[RequestTurns]()
        self.requests: set[RequestTurns] = set()
        self.waiting: dict[RequestTurns, _Job[Pixels]] = {}

    @property
    def seconds_left(self) -> float:
        """How long its images take that are not decoded yet."""
        return sum(request.seconds_left for request in self.requests)

    def first(self) -> RequestTurns:
        """The request whose image is next."""
        return self.shares.first({request: job.seconds for request, job in self.waiting.items()})

    def pop(self, request: RequestTurns) -> _Job[Pixels]:
        """The next image, which waits no longer."""
        self.shares.serve(request, self.waiting[request].seconds, self.waiting)
        return self.waiting.pop(request)


class DecodeQueue:
    """Threads that wait for decoder processes, and the images that wait for a thread."""

    def __init__(self, threads: int, cores: float, deadline_s: float) -> None:
        """Create the queue of one replica.

        Args:
            threads: how many images are decoded at a time; of one client, or of those that take
                long, one less.
            cores: how many seconds of decoding are done in a second.
            deadline_s: within so many seconds all images of a request have to be decoded.
        """
        self._threads = ThreadPoolExecutor(threads, "pintag-decode")
        self._most_of_one = max(1, threads - 1)
        # By client: images whose request has ended are still being decoded.
        self._running: Counter[str] = Counter()
        self._running_long = 0
        self._cores, self._deadline_s = cores, deadline_s
        self._lock = threading.Lock()
        self._shares = EqualShares[_ClientQueue]()
        self._clients: dict[str, _ClientQueue] = {}

    @contextlib.contextmanager
    def admit(self, client: str, seconds: float) -> Iterator[RequestTurns]:
        """The turns of a request, for the duration of the block.

        Args:
            client: who sent the request.
            seconds: how long its slow images take together, by their headers.

        Raises:
            ImageTooLargeError: they take longer than the deadline.
            OverloadedError: they would be decoded in time, if fewer requests were in progress.
        """
        self._check(client, seconds)
        turns = RequestTurns(self, client, seconds)
        with self._lock:
            self._add(turns)
        try:
            yield turns
        finally:
            with self._lock:
                self._remove(turns)

    async def run(self, turns: RequestTurns, seconds: float, work: Callable[[], Pixels]) -> Pixels:
        """The result of `work`, done in a thread when it is the request's turn.

        Cancelling it skips it.
        """
        client, job = self._clients[turns.client], _Job(seconds, work)
        with self._lock:
            if not client.waiting:
                self._shares.wait(client)
            client.shares.wait(turns)
            client.waiting[turns] = job
        self._threads.submit(self._run_next)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            # A cancelled job must not keep its image in memory until its turn comes.
            with self._lock:
                client.waiting.pop(turns, None)

    def _check(self, name: str, seconds: float) -> None:
        if seconds > self._deadline_s:
            raise ImageTooLargeError(
                f"decoding may take {seconds:.1f} s, and the deadline is {self._deadline_s:g} s; "
                "send smaller images, or fewer in one request"
            )
        client = self._clients.get(name)
        own = [request.seconds_left for request in client.requests] if client else []
        others = [each.seconds_left for each in self._clients.values() if each is not client]
        work = seconds_until_done(seconds_until_done(seconds, own), others)
        if work > self._deadline_s * self._cores:
            # Whatever is in progress has its own deadline, too.
            waits = min((sum(own) + sum(others)) / self._cores, self._deadline_s)
            raise OverloadedError(
                f"decoding would take {work / self._cores:.1f} s beside the images in progress, and"
                f" the deadline is {self._deadline_s:g} s; try again",
                retry_after=math.ceil(waits),
            )

    def _add(self, turns: RequestTurns) -> None:
        client = self._clients.get(turns.client)
        if client is None:
            client = self._clients[turns.client] = _ClientQueue()
            self._shares.join(client)
        client.requests.add(turns)
        client.shares.join(turns)

    def _remove(self, turns: RequestTurns) -> None:
        client = self._clients[turns.client]
        # A job that is cancelled leaves by itself, but later.
        client.waiting.pop(turns, None)
        client.requests.remove(turns)
        client.shares.leave(turns)
        if not client.requests:
            del self._clients[turns.client]
            self._shares.leave(client)

    def _run_next(self) -> None:
        # When an image is done, another one of its client, or a long one, may have waited for it.
        while True:
            with self._lock:
                name, job = self._next()
            if job is None:
                return
            job.run()
            with self._lock:
                self._running -= Counter([name])
                self._running_long -= job.is_long

    def _next(self) -> tuple[str, _Job[Pixels] | None]:
        """The image that equal shares would decode first, which waits no longer, and its client."""
        names = {each: name for name, each in self._clients.items() if each.waiting}
        requests = {each: each.first() for each in names}
        pieces = {each: each.waiting[request].seconds for each, request in requests.items()}
        may_be_long = self._running_long < self._most_of_one
        free = {
            each: seconds
            for each, seconds in pieces.items()
            if self._running[names[each]] < self._most_of_one
            and (may_be_long or not each.waiting[requests[each]].is_long)
        }
        if not free:
            return "", None
        client = self._shares.first(free)
        self._shares.serve(client, pieces[client], pieces)
        self._running[names[client]] += 1
        job = client.pop(requests[client])
        self._running_long += job.is_long
        return names[client], job


class RequestTurns:
    """The slow images of one request: one is decoded at a time, in the request's own share."""

    def __init__(self, queue: DecodeQueue, client: str, seconds: float) -> None:
        self.client, self.seconds_left = client, seconds
        self._queue = queue
        self._turn = asyncio.Lock()

    async def decode(self, seconds: float, work: Callable[[], Pixels]) -> Pixels:
        """The pixels that `work` returns.

        Args:
            seconds: how long the image may take, by its header.
            work: decodes the image. Its error is raised.
        """
        async with self._turn:
            try:
                return await self._queue.run(self, seconds, work)
            finally:
                self.seconds_left -= seconds
