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
    idle_closed: bool = False
    """Whether there was no answer because the server closed the connection, which had been idle."""


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
        status, retry_after, idle_closed = 0, "", False
        try:
            async with asyncio.timeout(timeout_s):
                status, retry_after = await client.post(bodies[number % len(bodies)])
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            idle_closed = isinstance(error, _IdleClosedError)
        seconds = time.perf_counter() - started - due
        outcomes.append(Outcome(due, seconds, status, retry_after, idle_closed))

    async with asyncio.TaskGroup() as tasks:
        for number, due in enumerate(times):
            # Late requests are sent at once, one in each turn of the loop.
            await asyncio.sleep(0)
            while (wait := due - (time.perf_counter() - started)) > 0:
                # uvloop rounds down to whole milliseconds: less than one would not sleep at all.
                await asyncio.sleep(math.ceil(1000 * wait) / 1000)
            tasks.create_task(one(number, due))
    await client.close()


class _IdleClosedError(ConnectionError):
    """A server may close an idle connection at the moment when a client sends over it."""


class _Client:
    """A pool of persistent connections that grows as needed."""

    def __init__(self, url: str, source: str | None) -> None:
        parts = urlsplit(url)
        self._local = (source, 0) if source else None
        self._host, self._port = str(parts.hostname), parts.port or 80
        self._head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: "
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, body: bytes) -> tuple[int, str]:
        """Send one request; return the status of the answer and its Retry-After."""
        reader, writer, was_idle = await self._connection()
        try:
            writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
            head = (await _read_head(reader, was_idle)).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            await reader.readexactly(int(headers.get("content-length", 0)))
        except BaseException:
            writer.close()
            raise
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head[0].split()[1]), headers.get("retry-after", "")

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
        """An idle connection that the server has not closed, or a new one; whether it was idle."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and reader.exception() is None:
                return reader, writer, True
            writer.close()
        new = await asyncio.open_connection(self._host, self._port, local_addr=self._local)
        return *new, False

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _read_head(reader: asyncio.StreamReader, was_idle: bool) -> bytes:
    """The head of an answer; an `_IdleClosedError` if there is no byte of one."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        if was_idle and not getattr(error, "partial", b""):
            raise _IdleClosedError from error
        raise
