"""The open-loop load generator sends requests at their due times, and counts latency from them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from benchmarks import openloop

Answer = Callable[[bytes], tuple[float, bytes]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
NO_STATUS = b"HTTP/1.1 what\r\n\r\n"
REFUSED = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server on loopback; `answer` maps a body to the seconds to wait and the bytes to send.

    Without bytes it closes the connection.
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                seconds, response = answer(await reader.readexactly(length))
                await asyncio.sleep(seconds)
                if not response:
                    return
                writer.write(response)

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


def test_a_slow_server_gets_as_many_requests_as_a_fast_one() -> None:
    """A closed loop of one connection would take 20 answers of 0.3 s one after the other."""
    with answering(lambda body: (0.3, OK)) as url:
        outcomes = openloop.run(url, [b"a", b"b"], openloop.steady(100, 0.2))
    assert outcomes.statuses() == {200: 20}
    assert all(outcome.seconds >= 0.3 for outcome in outcomes)
    last = max(outcome.due + outcome.seconds for outcome in outcomes)
    assert last < 20 * 0.3 / 2


def test_answers_after_the_end_do_not_count_as_answered() -> None:
    outcomes = openloop.Outcomes(
        openloop.Outcome(due, 0.5, 200) for due in (0.0, 0.4, 0.5, 0.6, 0.9)
    )
    assert outcomes.answered(1.0) == 3
    assert outcomes.statuses() == {200: 5}


def test_a_latency_counts_from_the_due_time_of_its_request() -> None:
    """The client is late here: all requests are due before it starts."""
    with answering(lambda body: (0, OK)) as url:
        outcomes = openloop.run(url, [b"a"], [-2.0] * 5)
    assert [outcome.due for outcome in outcomes] == [-2.0] * 5
    assert min(outcome.seconds for outcome in outcomes) >= 2
    median = outcomes.milliseconds(50)
    assert median is not None
    assert median >= 2000


def test_refusals_and_missing_answers_are_recorded() -> None:
    responses = {
        b"busy": (0.0, REFUSED),
        b"never": (30.0, OK),
        b"broken": (0.0, NO_STATUS),
    }
    with answering(lambda body: responses[body]) as url:
        outcomes = openloop.run(url, list(responses), [0, 0.01, 0.02], timeout_s=3)
    assert sorted((outcome.status, outcome.retry_after) for outcome in outcomes) == [
        (0, ""),
        (0, ""),
        (503, "7"),
    ]
    assert outcomes.milliseconds(99) is None
    assert outcomes.milliseconds(99, 503) is not None


def test_a_request_over_an_idle_connection_that_is_closed_is_recognised() -> None:
    responses = [OK, b""]
    with answering(lambda _: (0, responses.pop(0))) as url:
        outcomes = openloop.run(url, [b"a"], [0, 0.3])
    assert [(each.status, each.idle_closed) for each in outcomes] == [(200, False), (0, True)]


def test_a_connection_that_was_new_or_an_answer_that_had_begun_is_another_failure() -> None:
    responses = [b"", OK, b"HTTP/1.1 2"]
    with answering(lambda _: (0, responses.pop(0) if responses else b"")) as url:
        outcomes = openloop.run(url, [b"a"], [0, 0.3, 0.6], timeout_s=5)
    assert [(each.status, each.idle_closed) for each in outcomes] == [
        (0, False),
        (200, False),
        (0, False),
    ]


@pytest.mark.parametrize("bodies", [1, 3])
def test_bodies_are_sent_in_rotation(bodies: int) -> None:
    received = []

    def answer(body: bytes) -> tuple[float, bytes]:
        received.append(body)
        return 0, OK

    sent = [str(number).encode() for number in range(bodies)]
    with answering(answer) as url:
        openloop.run(url, sent, openloop.steady(100, 0.06))
    assert sorted(received) == sorted(sent * (6 // bodies))
