"""Requests at times of their own, whatever the server does: open-loop load.

A client that waits for an answer before it asks again slows down with the server, and measures
only the latencies that the server let it measure (coordinated omission). Here each request has its
time; it is sent then, over a connection of its own if all others are busy, and its latency counts
from that time, also where this client itself was late.
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
class Fate:
    """What became of one request."""

    due: float
    """Seconds after the beginning."""
    seconds: float
    """From then to its answer."""
    status: int
    """Of HTTP; zero where there was no answer."""
    retry_after: str = ""


class Fates(list[Fate]):
    """Of all requests of a run."""

    def statuses(self) -> Counter[int]:
        """How many had which status."""
        return Counter(fate.status for fate in self)

    def answered(self, seconds: float) -> int:
        """How many were answered by then: what queues at the end of a run is not of its rate."""
        return sum(fate.status == 200 and fate.due + fate.seconds <= seconds for fate in self)

    @property
    def refused(self) -> int:
        """How many were answered with 503."""
        return self.statuses()[503]

    @property
    def failed(self) -> int:
        """How many were neither answered nor refused."""
        return sum(fate.status not in (200, 503) for fate in self)

    def milliseconds(self, percent: float, status: int = 200) -> float | None:
        """The percentile of the latencies of a status, if there is any."""
        found = [fate.seconds for fate in self if fate.status == status]
        return 1000 * float(np.percentile(found, percent)) if found else None


def steady(rate: float, seconds: float) -> list[float]:
    """The times of requests that are evenly spread."""
    return [number / rate for number in range(round(rate * seconds))]


def run(
    url: str,
    bodies: Sequence[bytes],
    times: Iterable[float],
    patience: float = 30.0,
    fates: Fates | None = None,
) -> Fates:
    """POST bodies in turn to a URL, each at its time, and wait for the answers.

    Args:
        times: seconds after the beginning, in order.
        patience: seconds after which a request counts as unanswered.
        fates: where each is put as soon as it is known, for others to see.
    """
    fates = Fates() if fates is None else fates
    # The client shares the cores with the server: it takes as little of them as it can.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(url, bodies, times, patience, fates))
    return fates


async def _run(
    url: str, bodies: Sequence[bytes], times: Iterable[float], patience: float, fates: Fates
) -> None:
    client = _Client(url)
    started = time.perf_counter()

    async def one(number: int, due: float) -> None:
        try:
            async with asyncio.timeout(patience):
                status, retry_after = await client.post(bodies[number % len(bodies)])
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            status, retry_after = 0, ""
        fates.append(Fate(due, time.perf_counter() - started - due, status, retry_after))

    async with asyncio.TaskGroup() as tasks:
        for number, due in enumerate(times):
            # Late ones are sent at once, one turn of the loop after the other.
            await asyncio.sleep(0)
            while (wait := due - (time.perf_counter() - started)) > 0:
                # uvloop counts whole milliseconds: less than one would be no sleep at all.
                await asyncio.sleep(math.ceil(1000 * wait) / 1000)
            tasks.create_task(one(number, due))
    await client.close()


class _Client:
    """Connections that are kept, and as many as are needed at once."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), parts.port or 80
        self._head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: "
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, body: bytes) -> tuple[int, str]:
        """The status of the answer, and its Retry-After."""
        reader, writer = await self._connection()
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
            self._idle.append((reader, writer))
        return int(head[0].split()[1]), headers.get("retry-after", "")

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One that is kept, if the server has not closed it meanwhile, or a new one."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and reader.exception() is None:
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
