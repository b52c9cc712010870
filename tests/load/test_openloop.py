"""The generator of open-loop load: what is due is sent, and waited for from when it was due."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.load import openloop

Answer = Callable[[bytes], tuple[float, bytes]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
NO_STATUS = b"HTTP/1.1 what\r\n\r\n"
REFUSED = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server on loopback that waits and then says what it is told to, by the body."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                seconds, said = answer(await reader.readexactly(length))
                await asyncio.sleep(seconds)
                writer.write(said)

    loop = asyncio.new_event_loop()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.CancelledError):
            await connected(reader, writer)

    server = loop.run_until_complete(asyncio.start_server(connection, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/tags"
    finally:

        async def close() -> None:
            server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_rate_is_evenly_spread() -> None:
    assert openloop.steady(4, 1.5) == [0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_a_slow_server_is_asked_no_less() -> None:
    """A closed loop of one connection would take 20 answers of 0.3 s one after the other."""
    with answering(lambda body: (0.3, OK)) as url:
        fates = openloop.run(url, [b"a", b"b"], openloop.steady(100, 0.2))
    assert fates.statuses() == {200: 20}
    assert all(fate.seconds >= 0.3 for fate in fates)
    last = max(fate.due + fate.seconds for fate in fates)
    assert last < 20 * 0.3 / 2


def test_what_is_answered_after_the_end_is_not_of_the_rate() -> None:
    fates = openloop.Fates(openloop.Fate(due, 0.5, 200) for due in (0.0, 0.4, 0.5, 0.6, 0.9))
    assert fates.answered(1.0) == 3
    assert fates.statuses() == {200: 5}


def test_a_latency_counts_from_when_its_request_was_due() -> None:
    """The client is late itself: all are due at once, before it has begun."""
    with answering(lambda body: (0, OK)) as url:
        fates = openloop.run(url, [b"a"], [-2.0] * 5)
    assert [fate.due for fate in fates] == [-2.0] * 5
    assert min(fate.seconds for fate in fates) >= 2
    median = fates.milliseconds(50)
    assert median is not None
    assert median >= 2000


def test_refusals_and_what_is_not_answered_are_told() -> None:
    said = {
        b"busy": (0.0, REFUSED),
        b"never": (30.0, OK),
        b"broken": (0.0, NO_STATUS),
    }
    with answering(lambda body: said[body]) as url:
        fates = openloop.run(url, list(said), [0, 0.01, 0.02], patience=0.5)
    assert sorted((fate.status, fate.retry_after) for fate in fates) == [
        (0, ""),
        (0, ""),
        (503, "7"),
    ]
    assert fates.milliseconds(99) is None
    assert fates.milliseconds(99, 503) is not None


@pytest.mark.parametrize("bodies", [1, 3])
def test_bodies_take_turns(bodies: int) -> None:
    seen = []

    def answer(body: bytes) -> tuple[float, bytes]:
        seen.append(body)
        return 0, OK

    made = [str(number).encode() for number in range(bodies)]
    with answering(answer) as url:
        openloop.run(url, made, openloop.steady(100, 0.06))
    assert sorted(seen) == sorted(made * (6 // bodies))
