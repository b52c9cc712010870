"""Open-loop load: requests are sent at fixed times, however slow the server is.

A client that waits for an answer before it sends the next request slows down with the server, and
misses the longest latencies (coordinated omission). Here each request has a due time. It is sent
then, over a new connection if all others are busy. Its latency counts from the due time, even if
this client was late.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import uvloop


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one request."""

    due: float
    """Seconds after the start of the run."""
    seconds: float
    """Seconds from its due time to its answer."""
    status: int
    """The HTTP status; zero if there was no answer."""
    retry_after: str = ""
    resent: bool = False
    """Whether it was sent again, because the server closed its connection, which had been idle."""


class Outcomes(list[Outcome]):
    """The outcomes of all requests of a run."""

    def statuses(self) -> Counter[int]:
        """The number of requests by status."""
        return Counter(outcome.status for outcome in self)

    def answered(self, seconds: float) -> int:
        """The number of answers within `seconds` of the start; later answers do not count."""
        return sum(
            outcome.status == 200 and outcome.due + outcome.seconds <= seconds for outcome in self
        )

    @property
    def resent(self) -> int:
        """The number of requests that were sent again."""
        return sum(outcome.resent for outcome in self)

    @property
    def refused(self) -> int:
        """The number of requests with status 503."""
        return self.statuses()[503]

    @property
    def failed(self) -> int:
        """The number of requests with any other status than 200 and 503, or without an answer."""
        return sum(outcome.status not in (200, 503) for outcome in self)

    def milliseconds(self, percent: float, status: int = 200) -> float | None:
        """A percentile of the latencies of a status in milliseconds; None without requests."""
        seconds = [outcome.seconds for outcome in self if outcome.status == status]
        return 1000 * float(np.percentile(seconds, percent)) if seconds else None


def steady(rate: float, seconds: float) -> list[float]:
    """Due times of evenly spread requests, in seconds."""
    return [number / rate for number in range(round(rate * seconds))]


def run(
    url: str,
    bodies: Sequence[bytes],
    times: Iterable[float],
    timeout_s: float = 30.0,
    outcomes: Outcomes | None = None,
    source: str | None = None,
) -> Outcomes:
    """POST bodies in rotation to a URL, each at its due time, and wait for the answers.

    Args:
        times: due times in seconds after the start, ascending.
        timeout_s: seconds after which a request counts as unanswered.
        outcomes: the list that each outcome is appended to, for other threads to read.
        source: the address of this machine that the requests come from; None: any.
    """
    outcomes = Outcomes() if outcomes is None else outcomes
    # The client shares the cores with the server, so it must use little of them.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(_Client(url, source), bodies, times, timeout_s, outcomes))
    return outcomes


async def _run(
    client: _Client,
    bodies: Sequence[bytes],
    times: Iterable[float],
    timeout_s: float,
    outcomes: Outcomes,
) -> None:
    started = time.perf_counter()

    async def one(number: int, due: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                answer = await client.post(bodies[number % len(bodies)])
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            answer = _Answer()
        outcomes.append(Outcome(due, time.perf_counter() - started - due, *answer))

    async with asyncio.TaskGroup() as tasks:
        for number, due in enumerate(times):
            # Late requests are sent at once, one in each turn of the loop.
            await asyncio.sleep(0)
            while (wait := due - (time.perf_counter() - started)) > 0:
                # uvloop rounds down to whole milliseconds: less than one would not sleep at all.
                await asyncio.sleep(math.ceil(1000 * wait) / 1000)
            tasks.create_task(one(number, due))
    await client.close()


class _Answer(NamedTuple):
    status: int = 0
    retry_after: str = ""
    resent: bool = False


_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Client:
    """A pool of persistent connections that grows as needed."""

    def __init__(self, url: str, source: str | None) -> None:
        parts = urlsplit(url)
        self._local = (source, 0) if source else None
        self._host, self._port = str(parts.hostname), parts.port or 80
        self._head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: "
        self._idle: list[_Connection] = []

    async def post(self, body: bytes) -> _Answer:
        """Send one request.

        A server may close an idle connection at the moment when a client sends: the client then
        gets no byte of an answer, and sends the request again, over a new connection.
        """
        if not (connection := self._idle_connection()):
            return await self._exchange(await self._open(), body)
        try:
            return await self._exchange(connection, body)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            if getattr(error, "partial", b""):
                raise
            answer = await self._exchange(await self._open(), body)
            return answer._replace(resent=True)

    async def _exchange(self, connection: _Connection, body: bytes) -> _Answer:
        reader, writer = connection
        try:
            writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            await reader.readexactly(int(headers.get("content-length", 0)))
        except BaseException:
            writer.close()
            raise
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append(connection)
        return _Answer(int(head[0].split()[1]), headers.get("retry-after", ""))

    def _idle_connection(self) -> _Connection | None:
        """An idle connection that the server has not closed."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and reader.exception() is None:
                return reader, writer
            writer.close()
        return None

    async def _open(self) -> _Connection:
        return await asyncio.open_connection(self._host, self._port, local_addr=self._local)

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
